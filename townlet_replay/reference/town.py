"""Tables about the town: vocabulary, observation columns, reward, events, catalogue, scenarios."""

from __future__ import annotations

from townlet_env.config.catalogue import AffordanceConfig, Catalogue
from townlet_env.config.load import (
    Source,
    configs_dir,
    list_scenarios,
    load_scenario,
    validate,
)
from townlet_env.config.safe_yaml import read_yaml
from townlet_env.config.sections import RewardsConfig
from townlet_env.sim.features import FULL_MAP_CHANNELS, MAP_CHANNELS, feature_table
from townlet_env.sim.ids import KIND_GROUP_NAMES, Component, EventKind
from townlet_replay.reference.markdown import code, table

_REWARDS = RewardsConfig()

VERBS = {
    "wait": "nothing; always legal",
    "move": "one step to that neighbouring cell",
    "approach": "one step along a shortest path to the nearest usable object of that kind",
    "request": "asks for the nearest object of that kind in range: reserved, or a place in line",
    "start": "begins the affordance at the object whose reservation is held",
    "release": "ends the affordance, or gives up the reservation or the place in line",
    "chat": "talks to the nearest free resident in range",
}

COMPONENTS = {
    Component.SURVIVAL: f"+ `survival_tick` ({_REWARDS.survival_tick})",
    Component.NEEDS: (
        f"- `needs_scale` ({_REWARDS.needs_scale}) x sum of w (1 - need)^2, "
        f"w = {', '.join(f'{weight:g}' for weight in _REWARDS.need_weights.values())} "
        "for hunger, hygiene, energy"
    ),
    Component.SHAPING: (
        f"`shaping_gamma` ({_REWARDS.shaping_gamma}) x phi(after) - phi(before), "
        f"phi = - `shaping_scale` ({_REWARDS.shaping_scale}) x sum of w (1 - need)"
    ),
    Component.WAGE: f"`wage_weight` ({_REWARDS.wage_weight}) x meals paid in this tick",
    Component.PUNCTUALITY: (
        f"`punctuality_scale` ({_REWARDS.punctuality_scale}) x p; "
        "p from 1 to -1 once when work begins, -1 for who never comes"
    ),
    Component.SOCIAL: (
        f"of a chat that went well: `base` ({_REWARDS.social.base}) "
        f"+ {_REWARDS.social.trust} x trust + {_REWARDS.social.familiarity} x familiarity; "
        f"`avoided` ({_REWARDS.social.avoided}) for letting an avoided rival go first; "
        f"{'on' if _REWARDS.social.enabled else 'off'} by default; 0 while a deficit exceeds "
        f"{_REWARDS.social.deficit_limit}"
    ),
    Component.TERMINAL: (
        f"once, of leaving town: `faint` ({_REWARDS.faint:g}) or `eviction` ({_REWARDS.eviction:g})"
    ),
    Component.CLIP: (
        "what clipping takes away: the sum of the others, terminal aside, "
        f"is clipped to +-`clip` ({_REWARDS.clip:g}); and gains within `quiet_ticks` "
        f"({_REWARDS.quiet_ticks}) ticks of an exit"
    ),
}

CHANNELS = {
    "walls": "there is a wall, or the map has ended",
    "residents": "somebody else stands",
    "objects": "an object stands",
    "reserved": "somebody uses or holds the object",
    **{group: f"the object is for {group}" for group in KIND_GROUP_NAMES},
    "other": "the object is for something else",
    "path_axis": "the next step of the way is east or west",
    "path_sign": "the next step of the way is south or east",
}

# kind -> (when, other, value); an empty cell stands for none, or 0.
EVENTS = {
    EventKind.MOVE_BLOCKED: ("a step onto a resident's cell was refused", "who stands there", ""),
    EventKind.GHOST_STEP: ("swapped places after being blocked", "with whom", ""),
    EventKind.QUEUE_JOINED: ("joined the back of a line", "", ""),
    EventKind.QUEUE_LEFT: ("left a line, by release or by walking away", "", ""),
    EventKind.QUEUE_CONFLICT: (
        "requested what somebody has or waits for",
        "user, else holder, else first in line",
        "intensity 1 + 0.5 x people waiting",
    ),
    EventKind.QUEUE_ROTATED: ("held a reservation too long and lost it", "who is next", ""),
    EventKind.RESERVED: ("was given the reservation", "", ""),
    EventKind.COURTESY: ("released a reservation others wait for", "who is next", ""),
    EventKind.AFFORDANCE_STARTED: ("began an affordance", "", ""),
    EventKind.AFFORDANCE_FINISHED: ("finished it; effects applied", "", ""),
    EventKind.AFFORDANCE_FAILED: ("power or water went away; no effects", "", ""),
    EventKind.AFFORDANCE_RELEASED: ("aborted it; no effects", "", ""),
    EventKind.SHIFT_ON_TIME: ("began work within the grace", "", "minutes after the start"),
    EventKind.SHIFT_LATE: ("the grace ended without work", "", "minutes after the start"),
    EventKind.SHIFT_ABSENT: ("never came, or was away too long", "", "minutes after the start"),
    EventKind.SHIFT_DONE: ("the shift closed", "", ""),
    EventKind.CHAT: ("talked", "to whom", "quality in (0, 1]; 0 if it failed"),
    EventKind.EXIT: ("left town", "", ""),
    EventKind.FAINTED: ("had a desperate need for too long, and leaves", "", ""),
    EventKind.EVICTED: ("was under notice for too long, and leaves", "", ""),
    EventKind.ARRIVED: ("is a newcomer in a vacant slot", "", ""),
    EventKind.DISMISSED: ("lost the job at `object`", "", ""),
    EventKind.RENT_PAID: ("paid all the rent that was owed", "", "meals"),
    EventKind.RENT_UNPAID: ("could not pay at midnight", "", "meals owed"),
    EventKind.RESTOCKED: ("nobody: `object` was filled up", "", "units"),
    EventKind.PRICE_SPIKE: ("nobody: prices rose", "", "factor"),
    EventKind.PRICE_SPIKE_OVER: ("nobody: prices are as before", "", ""),
    EventKind.BLACKOUT: ("nobody: the power went off", "", ""),
    EventKind.BLACKOUT_OVER: ("nobody: it is back", "", ""),
    EventKind.OUTAGE: ("nobody: the water went off", "", ""),
    EventKind.OUTAGE_OVER: ("nobody: it is back", "", ""),
    EventKind.MEET: ("was invited to `object`", "the other one invited", ""),
    EventKind.MEET_OVER: ("nobody: the meet is over", "", ""),
    EventKind.MET: ("met at `object`", "whom", ""),
    EventKind.MEET_MISSED: ("came, and waited to the end", "who did not come", ""),
    EventKind.SHARED_MEAL: ("finished a meal", "who finished one near by a short while ago", ""),
    EventKind.HELPED: ("released a reservation others wait for", "who is next, and late", ""),
    EventKind.SHIFT_TAKEN: ("works at `object`", "whose shift it is, late or absent", ""),
    EventKind.COMPANY: (
        "finished an affordance with `company`",
        "who does one near by",
        "familiarity, before warmth",
    ),
}


def _catalogue() -> Catalogue:
    """Return the shipped catalogue."""
    path = configs_dir() / "affordances.yaml"
    return validate(Catalogue, read_yaml(path).data, Source(str(path), {}))


def actions() -> str:
    """Action ids with their names."""
    names = _catalogue().action_names()
    rows = [(str(a), code(name), VERBS[name.split(":")[0]]) for a, name in enumerate(names)]
    return table(("id", "action", "does"), rows)


def affordances() -> str:
    """What can be done at which object, for how long, for what."""
    rows = [_affordance(name, found) for name, found in _catalogue().affordances.items()]
    return table(("affordance", "object", "ticks", "needs", "takes", "gives"), rows)


def _affordance(name: str, found: AffordanceConfig) -> tuple[str, ...]:
    needs = [key.replace("_", " ") for key, wanted in found.requires if wanted]
    return (
        code(name),
        ", ".join(found.kinds),
        str(found.ticks).replace("_", " "),
        ", ".join(needs),
        ", ".join(f"{key} {amount:g}" for key, amount in found.takes if amount),
        _gives(found),
    )


def _gives(found: AffordanceConfig) -> str:
    gives = found.gives
    needs = {"hunger": gives.hunger, "hygiene": gives.hygiene, "energy": gives.energy}
    words = [f"{need} {gain:+g}" for need, gain in needs.items() if gain]
    if gives.ingredients:
        words.append(f"{gives.ingredients} ingredients")
    if gives.stock_of:
        words.append(f"{gives.stock} units into the nearest {gives.stock_of}")
    if gives.company:
        words.append(f"company {gives.company:g}")
    if found.requires.on_shift:
        words.append("wage per tick")
    return ", ".join(words)


def features() -> str:
    """Columns of ``features``."""
    rows = []
    for f, column in enumerate(feature_table(_catalogue().kinds)):
        span = f"{column.low:g} to {column.high:g}"
        rows.append((str(f), code(column.name), span, column.group, column.meaning))
    return table(("column", "name", "range", "group", "meaning"), rows)


def map_channels() -> str:
    """Channels of ``map``, and the variants of the observation that have them."""
    rows = []
    for c, name in enumerate(FULL_MAP_CHANNELS):
        variants = "hybrid, full" if name in MAP_CHANNELS else "full"
        rows.append((str(c), code(name), variants, CHANNELS[name]))
    return table(("channel", "name", "in", "1 where"), rows)


def reward_components() -> str:
    """Reward components, in the order of their columns."""
    rows = [(str(int(c)), code(c.name.lower()), COMPONENTS[c]) for c in Component]
    return table(("column", "component", "per tick"), rows)


def events() -> str:
    """Kinds of events."""
    rows = [(code(kind.name.lower()), *EVENTS[kind]) for kind in EventKind]
    return table(("event", "`by` ...", "`other`", "`value`"), rows)


def scenarios() -> str:
    """The shipped scenarios."""
    rows = []
    for name in list_scenarios():
        config = load_scenario(name)
        who = ", ".join(resident.id for resident in config.residents)
        claims = str(len(config.expect))
        rows.append((code(name), str(config.ticks), who, claims, config.description))
    return table(("scenario", "ticks", "residents", "claims", "story"), rows)
