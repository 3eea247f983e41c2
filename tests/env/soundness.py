"""What is true of every state and every step of a town, whatever was done to it."""

from __future__ import annotations

from typing import Any

import numpy as np
from env.worlds import Scenario

from townlet_env.sim.ids import NONE, Component, EventKind
from townlet_env.sim.state import EVENTS_PER_RESIDENT

SIGNED, UNIT = (-1.0, 1.0), (0.0, 1.0)
RANGES = {
    "needs": UNIT, "rivalry": UNIT, "trust": SIGNED, "familiarity": SIGNED,
    "pace": SIGNED, "patience": SIGNED, "warmth": SIGNED, "potential": (-np.inf, 0.0),
}  # fmt: skip


def assert_sound(world: Any, town: Scenario) -> None:
    """Numbers are in their ranges, everybody has a cell, and what is owned is owned both ways."""
    n, m = int(world.n_residents), int(world.n_objects)
    for name, values in vars(world).items():
        if values.dtype.kind == "f":  # NaN and infinities lie in no range
            least, most = RANGES.get(name, (0.0, np.inf))
            assert ((values >= least) & (values <= most) & (values < np.inf)).all(), name
        elif values.dtype.kind == "i":
            assert (values >= NONE).all(), name
    assert (world.stock >= 0).all()
    assert (world.ingredients >= 0).all()
    assert not world.rivalry.diagonal().any()
    assert ((world.rivalry > 0).sum(axis=1) <= town.config.ties.max_edges).all()
    assert ((world.absences >= 0) & (world.absences < 128)).all()
    alive = np.flatnonzero(world.alive)
    cells = list(zip(world.x[alive].tolist(), world.y[alive].tolist(), strict=True))
    assert len(set(cells)) == len(cells)
    assert set(cells) <= town.ground.floor
    strangers = np.flatnonzero(world.alive[:n] == 0)
    ties = world.rivalry, world.trust, world.familiarity
    assert not any(tie[strangers].any() or tie[:, strangers].any() for tie in ties)
    _assert_owned(world, n, m)


def _assert_owned(world: Any, n: int, m: int) -> None:
    """What objects say of residents and residents of objects is the same."""
    user, holder = world.user[:m].tolist(), world.holder[:m].tolist()
    users = {o: i for o, i in enumerate(user) if i != NONE}
    holders = {o: i for o, i in enumerate(holder) if i != NONE}
    lines = {o: world.queue[o, : world.queue_length[o]].tolist() for o in range(m)}
    assert not users.keys() & holders.keys()
    assert users == {int(world.busy_object[i]): i for i in _having(world.busy_affordance, n)}
    assert holders == {int(world.reserved_object[i]): i for i in _having(world.reserved_object, n)}
    waits = {i: int(world.queue_object[i]) for i in _having(world.queue_object, n)}
    assert {i: o for o, line in lines.items() for i in line} == waits
    assert sum(map(len, lines.values())) == len(waits)
    occupied = [*users.values(), *holders.values(), *waits]
    assert len(set(occupied)) == len(occupied)
    assert all(world.alive[i] for i in occupied)
    places = np.arange(world.queue.shape[1])
    assert (world.queue[places >= world.queue_length[:, None]] == NONE).all()
    for o, i in users.items():
        apart = abs(int(world.x[i] - world.object_x[o])) + abs(int(world.y[i] - world.object_y[o]))
        assert apart == 1, f"resident {i} uses object {o} from {apart} cells away"
        assert world.busy_affordance[i] != NONE


def _having(field: Any, n: int) -> list[int]:
    return [int(i) for i in np.flatnonzero(field[:n] != NONE)]


def assert_sound_step(outcome: Any, world: Any, town: Scenario) -> None:
    """Components are the reward, clipped but for what an exit costs; the log is far from full."""
    n, clip = int(world.n_residents), town.config.rewards.clip
    parts = outcome.components[:n]
    assert (np.abs(parts.sum(-1) - outcome.reward[:n]) <= 1e-6).all()
    assert np.isfinite(outcome.reward).all()
    lived = parts.sum(-1) - parts[:, Component.TERMINAL]
    assert (np.abs(lived) <= clip + 1e-6).all()
    absent = ((world.alive[:n] == 0) & (outcome.terminated[:n] == 0)) | (outcome.arrived[:n] != 0)
    assert not parts[absent].any()
    assert not (outcome.terminated & outcome.truncated).any()
    assert not (outcome.terminated & world.alive).any()
    assert outcome.n_events <= n * EVENTS_PER_RESIDENT / 2


def assert_sound_views(views: Any, w: int, alive: Any) -> None:
    """Features are in range; vacant slots see nothing and may only wait."""
    features, maps, mask = views.features[w], views.map[w], views.action_mask[w]
    assert (np.abs(features) <= 1).all()  # nor is anything not a number
    assert (maps <= 1).all()
    assert (mask <= 1).all()
    assert (mask[:, 0] == 1).all()
    vacant = alive == 0
    assert not features[vacant].any()
    assert not maps[vacant].any()
    assert not mask[vacant, 1:].any()


class Books:
    """Money, stock and ingredients: every change has an event, or is a wage."""

    KEPT = ("wallet", "ingredients", "stock")  # fields to be copied before the step

    def __init__(self, town: Scenario) -> None:
        self.town = town
        names = town.plan.names
        self.affordances = [town.config.catalogue.affordances[name] for name in names.affordances]

    def assert_balanced(self, before: Any, after: Any, outcome: Any) -> None:
        wallet = before.wallet.astype(float)
        carried, stock = before.ingredients.astype(int), before.stock.astype(int)
        newcomer = self.town.config.arrivals
        new = outcome.arrived != 0
        wallet[new], carried[new] = newcomer.wallet, newcomer.ingredients
        kinds = after.kind
        filled = dict.fromkeys(self.town.plan.names.kinds, 0)
        for row in range(outcome.n_events):
            kind, by, _, o, a = (int(code) for code in outcome.events[row])
            value = float(outcome.event_value[row])
            if kind == EventKind.RENT_PAID:
                wallet[by] -= value
            if kind == EventKind.RESTOCKED:
                stock[o] += int(value)
            if kind == EventKind.AFFORDANCE_FINISHED:
                takes, gives = self.affordances[a].takes, self.affordances[a].gives
                wallet[by] = max(wallet[by] - self._price(takes, after), 0.0)
                carried[by] += gives.ingredients - takes.ingredients
                stock[o] -= takes.stock
                if gives.stock_of:
                    filled[gives.stock_of] += gives.stock
        wallet += outcome.wage
        assert (np.abs(after.wallet - wallet) <= 1e-4).all()
        assert (after.ingredients == carried).all()
        for k, (name, units) in enumerate(filled.items()):
            same = kinds == k
            if units == 0 or not same.any():
                assert (after.stock[same] == stock[same]).all(), name
            assert after.stock[same].sum() == stock[same].sum() + units * same.any()

    def _price(self, takes: Any, world: Any) -> float:
        at_till = takes.groceries_price * float(world.price_groceries)
        return float(takes.money + takes.meal_price * float(world.price_meal) + at_till)


class Lives:
    """Who leaves, when, and what is paid around it."""

    def __init__(self, town: Scenario) -> None:
        self.town, self.config = town, town.config
        n = len(town.plan.names.residents)
        self.gone: set[tuple[int, int]] = set()  # slot and number: who has left
        self.exits: list[int] = []  # ticks
        self.arrived = 0
        self.troubled = -(10**6)  # tick of the last end of a perturbation
        self.gained = [-(10**6)] * n  # tick of the last positive reward in the slot
        self.left = [-(10**6)] * n  # tick of the last exit from the slot
        self.new = [0] * n  # tick of the arrival

    def assert_orderly(self, tick: int, after: Any, outcome: Any) -> None:
        """Hold one step against what came before; ``tick`` is the number of ticks done until it."""
        rewards, n = self.config.rewards, len(self.gained)
        kinds = outcome.events[: outcome.n_events, 0].tolist()
        over = (EventKind.PRICE_SPIKE_OVER, EventKind.BLACKOUT_OVER, EventKind.OUTAGE_OVER)
        if any(kind in over for kind in kinds):
            self.troubled = tick
        for i in np.flatnonzero(outcome.arrived[:n]).tolist():
            self._arrive(i, tick, after)
        for i in np.flatnonzero(outcome.reward[:n] > 0).tolist():
            self.gained[i] = tick
            assert tick > self.left[i] + rewards.quiet_ticks, f"slot {i} gains after an exit"
        exits = np.flatnonzero(outcome.terminated[:n]).tolist()
        assert sorted(exits) == sorted(_by(outcome, EventKind.EXIT))
        assert kinds.count(EventKind.FAINTED) + kinds.count(EventKind.EVICTED) == len(exits)
        for i in exits:
            self._leave(i, tick, after)
        present = {(i, int(after.newcomer[i])) for i in np.flatnonzero(after.alive).tolist()}
        assert not present & self.gone, "an id returns"
        assert all((int(after.alive[i]) == 0) == (i in exits) for i in exits)

    def _arrive(self, i: int, tick: int, after: Any) -> None:
        self.arrived += 1
        numbers = after.newcomer[after.newcomer > 0].tolist()
        assert len(set(numbers)) == len(numbers)
        assert max(numbers) == int(after.arrivals)
        assert self.config.arrivals.enabled
        assert tick > self.left[i] + self.config.arrivals.delay[0]
        assert after.since[i] == tick + 1
        self.new[i] = tick

    def _leave(self, i: int, tick: int, after: Any) -> None:
        lives, rewards = self.config.lives, self.config.rewards
        number = int(after.newcomer[i])
        self.gone.add((i, number))
        assert self.exits == [] or tick - self.exits[-1] >= lives.exit_gap
        self.exits.append(tick)
        self.left[i] = tick
        day = (self.config.start_minute + tick) // 1440
        same_day = [t for t in self.exits if (self.config.start_minute + t) // 1440 == day]
        assert len(same_day) <= lives.exits_per_day
        assert not after.perturb_until[:3].any()
        assert tick >= self.troubled + lives.grace_ticks
        assert number == 0 or tick >= self.new[i] + 1 + lives.grace_ticks
        foreseen = min(lives.faint_after - 1, lives.notice_ticks)
        assert self.gained[i] < tick - min(rewards.quiet_ticks, foreseen)


def _by(outcome: Any, kind: EventKind) -> list[int]:
    events = outcome.events[: outcome.n_events]
    return [int(row[1]) for row in events if row[0] == kind]
