"""How well a town lives: key figures of whole episodes, over many seeds side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from townlet_env.config.compile import compile_plan
from townlet_env.config.schema import TownConfig
from townlet_env.errors import ConfigError
from townlet_env.policies.crew import Crew, with_policy
from townlet_env.sim.batch import Step, WorldBatch
from townlet_env.sim.ids import MINUTES_PER_DAY, NONE, EventKind, Need
from townlet_env.sim.plan import Plan

Floats = npt.NDArray[np.float64]

LOW_NEED = 0.1  # below it a need is called low


class Kpi(NamedTuple):
    """What a figure is called and means; residents' figures are means over those in town."""

    name: str  # field of Kpis
    title: str
    meaning: str


KPIS = (
    Kpi("stayed", "stayed", "share of the first residents who are in town at the end"),
    Kpi("mean_need", "mean need", "mean of the three needs, over residents and ticks"),
    Kpi("hunger", "hunger", "mean"),
    Kpi("hygiene", "hygiene", "mean"),
    Kpi("energy", "energy", "mean"),
    Kpi("low_need", "low need", f"share of time with any need below {LOW_NEED}"),
    Kpi("on_time", "on time", "shifts begun on time / shifts of all jobs"),
    Kpi("attendance", "attendance", "ticks worked / ticks of all shifts"),
    Kpi("earned", "earned", "meals paid as wages, per resident"),
    Kpi("meals", "meals eaten", "finished affordances that serve hunger, per resident"),
    Kpi("conflicts", "conflicts", "per resident"),
    Kpi("chats", "chats", "held, per resident"),
    Kpi("rivalry", "rivalry", "mean over pairs and ticks"),
    Kpi("reward", "return", "sum of rewards per slot"),
    Kpi("spread", "spread", "standard deviation of the return over slots"),
)


@dataclass(frozen=True)
class Kpis:
    """The figures of one policy on one scenario; E seeds, A affordances.

    ``finishes`` counts per episode; the other arrays are (E,) and explained by ``KPIS``. What a
    scenario has none of, such as shifts, is nan.
    """

    policy: str  # "script" if everybody follows what the scenario says
    seeds: tuple[int, ...]
    affordances: tuple[str, ...]
    days: float  # length of an episode
    finishes: npt.NDArray[np.int64]  # (E, A)
    stayed: Floats
    mean_need: Floats
    hunger: Floats
    hygiene: Floats
    energy: Floats
    low_need: Floats
    on_time: Floats
    attendance: Floats
    earned: Floats
    meals: Floats
    conflicts: Floats
    chats: Floats
    rivalry: Floats
    reward: Floats
    spread: Floats

    def of(self, kpi: Kpi) -> Floats:
        """Return the figures (E,) of every seed."""
        figures: Floats = vars(self)[kpi.name]
        return figures

    def pooled(self, kpi: Kpi) -> float:
        """Return the mean over seeds."""
        return float(self.of(kpi).mean())

    @property
    def fewest_a_day(self) -> Floats:
        """(A,): how often each affordance was finished per day, in the seed with the fewest."""
        fewest: Floats = self.finishes.min(axis=0) / self.days
        return fewest


def measure(
    config: TownConfig,
    policy: str | None,
    seeds: Sequence[int],
    watch: Callable[[], None] | None = None,
) -> Kpis:
    """Play one episode per seed, all side by side, and count.

    Args:
        config: The scenario.
        policy: What everybody follows; None for what the scenario says.
        seeds: Seeds of the episodes.
        watch: Called after every tick.

    Raises:
        ConfigError: There are no seeds, or a policy is unknown.
    """
    if not seeds:
        raise ConfigError("expected at least one seed, found none")
    played = config if policy is None else with_policy(config, policy)
    plan = compile_plan(played)
    batch, crew = WorldBatch(plan, len(seeds)), Crew(played, plan)
    batch.reset(list(seeds))
    tally = _Tally(batch)
    for _ in range(config.ticks):
        step = batch.step(crew.decide(batch))
        tally.count(step)
        if watch is not None:
            watch()
    return tally.kpis(policy or "script", tuple(seeds))


class _Tally:
    """Sums over the ticks, by world."""

    def __init__(self, batch: WorldBatch) -> None:
        worlds, slots = batch.num_worlds, batch.num_residents
        self._batch = batch
        self._plan = batch.plan
        self._rewards = np.zeros((worlds, slots))
        self._needs = np.zeros((worlds, len(Need)))
        self._lived, self._low = np.zeros(worlds), np.zeros(worlds)
        self._wages, self._rivalry = np.zeros(worlds), np.zeros(worlds)
        self._worked = np.zeros(worlds)
        self._worked_today = batch.worlds["shift_worked"][:, :slots].astype(np.int64)
        self._events = np.zeros((worlds, len(EventKind)), np.int64)
        self._finishes = np.zeros((worlds, len(batch.plan.names.affordances)), np.int64)
        self._ticks = 0

    def count(self, step: Step) -> None:
        """Add one tick."""
        worlds, slots = self._batch.worlds, self._batch.num_residents
        self._ticks += 1
        self._rewards += step.reward
        alive = self._batch.alive
        needs = worlds["needs"][:, :slots].astype(np.float64)
        self._needs += (needs * alive[:, :, None]).sum(axis=1)
        self._low += ((needs < LOW_NEED).any(axis=2) & alive).sum(axis=1)
        self._lived += alive.sum(axis=1)
        self._wages += self._batch.outcomes["wage"][:, :slots].sum(axis=1)
        self._rivalry += worlds["rivalry"][:, :slots, :slots].sum(axis=(1, 2))
        worked = worlds["shift_worked"][:, :slots].astype(np.int64)
        self._worked += np.maximum(worked - self._worked_today, 0).sum(axis=1)
        self._worked_today = worked
        self._count_events()

    def _count_events(self) -> None:
        outcomes = self._batch.outcomes
        rows = np.arange(outcomes["events"].shape[1])
        w, row = np.nonzero(rows < outcomes["n_events"][:, None])
        kind, affordance = (outcomes["events"][w, row, column] for column in (0, 4))
        told = (kind != EventKind.CHAT) | (outcomes["event_value"][w, row] > 0.0)
        np.add.at(self._events, (w[told], kind[told]), 1)
        ends = (kind == EventKind.AFFORDANCE_FINISHED) & (affordance != NONE)
        np.add.at(self._finishes, (w[ends], affordance[ends]), 1)

    def kpis(self, policy: str, seeds: tuple[int, ...]) -> Kpis:
        """Return the figures."""
        batch, plan, slots = self._batch, self._plan, self._batch.num_residents
        shifts, scheduled = _scheduled(plan, self._ticks)
        hungry = plan.rules[0].affordance_effect[: self._finishes.shape[1], Need.HUNGER] > 0.0
        first = batch.alive & (batch.worlds["newcomer"][:, :slots] == 0)
        needs = _share(self._needs, self._lived[:, None])
        pairs = max(slots * (slots - 1), 1)
        return Kpis(
            policy=policy,
            seeds=seeds,
            affordances=plan.names.affordances,
            days=self._ticks / MINUTES_PER_DAY,
            finishes=self._finishes,
            stayed=first.mean(axis=1),
            mean_need=needs.mean(axis=1),
            hunger=needs[:, Need.HUNGER],
            hygiene=needs[:, Need.HYGIENE],
            energy=needs[:, Need.ENERGY],
            low_need=_share(self._low, self._lived),
            on_time=_share(self._events[:, EventKind.SHIFT_ON_TIME], shifts),
            attendance=_share(self._worked, scheduled),
            earned=self._wages / slots,
            meals=self._finishes[:, hungry].sum(axis=1) / slots,
            conflicts=self._events[:, EventKind.QUEUE_CONFLICT] / slots,
            chats=self._events[:, EventKind.CHAT] / slots,
            rivalry=self._rivalry / (pairs * self._ticks),
            reward=self._rewards.mean(axis=1),
            spread=self._rewards.std(axis=1),
        )


def _share(part: npt.NDArray[Any], whole: npt.ArrayLike) -> Floats:
    """Return part / whole, nan where there is nothing to be a part of."""
    total = np.broadcast_to(np.asarray(whole, np.float64), part.shape)
    share = np.full(part.shape, np.nan)
    np.divide(part, total, out=share, where=total > 0.0)
    return share


def _scheduled(plan: Plan, ticks: int) -> tuple[int, int]:
    """Return the shifts that the jobs of a scenario have in an episode, and their ticks."""
    world = plan.template[0]
    minutes = (int(world.start_minute) + np.arange(ticks)) % MINUTES_PER_DAY
    shifts = length = 0
    for i in range(int(world.n_residents)):
        if world.job_object[i] != NONE:
            open_now = (minutes >= world.job_start[i]) & (minutes < world.job_end[i])
            length += int(open_now.sum())
            shifts += int(open_now[0]) + int((open_now[1:] & ~open_now[:-1]).sum())
    return shifts, length
