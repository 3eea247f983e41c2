"""Tables about the town: vocabulary, observation columns, reward, events, catalogue, scenarios."""

from __future__ import annotations

from townlet_env.config.catalogue import AffordanceConfig, Catalogue
from townlet_env.config.load import list_scenarios, load_scenario
from townlet_env.config.sections import RewardsConfig
from townlet_env.sim.features import MAP_CHANNELS, feature_table
from townlet_env.sim.ids import Component, EventKind
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
        f"{'on' if _REWARDS.social.enabled else 'off'} by default; 0 while a deficit exceeds "
        f"{_REWARDS.social.deficit_limit}"
    ),
    Component.TERMINAL: "of leaving town; always 0, as nobody leaves in this version",
    Component.CLIP: (
        "what clipping takes away: the sum of the others, terminal aside, "
        f"is clipped to +-`clip` ({_REWARDS.clip:g})"
    ),
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
    EventKind.EXIT: ("left town; not in this version", "", ""),
}


def _catalogue() -> Catalogue:
    """Return the shipped catalogue, which is the same in every shipped scenario."""
    return load_scenario(list_scenarios()[0]).catalogue


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
    """Channels of ``map``."""
    return table(("channel", "name"), [(str(c), code(name)) for c, name in enumerate(MAP_CHANNELS)])


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
