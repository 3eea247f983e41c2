"""Options under way: who may choose what, what is committed to, and when it ends."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from townlet_env.config.schema import TownConfig
from townlet_env.errors import ConfigError
from townlet_env.policies.policy import WAIT, Seat, look
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.ids import NEED_COUNT
from townlet_env.wrappers.option_errands import NO_ERRAND, Errand
from townlet_env.wrappers.options import OPTION_NAMES, Deeds, Intent, Wait, build_options, deeds_of

WAIT_OPTION = 0  # the one that is always possible

OPTION_ENDS = ("episode", "finished", "impossible", "urgent", "commitment")
EPISODE, FINISHED, IMPOSSIBLE, URGENT, COMMITMENT = OPTION_ENDS
RUNNING = ""  # no end yet

Mask = npt.NDArray[np.int8]
News = dict[str, Any]  # keys and values of an info
Offers = tuple[Intent | None, ...]  # by option: what it would do now, None if it is not possible

_WAIT = Wait()
_ONLY_WAIT: Offers = (Intent(WAIT, NO_ERRAND), *(None for _ in OPTION_NAMES[1:]))

# Told of who had no option in a tick.
NO_NEWS: News = {
    "illegal_action": 0,
    "option": "",
    "option_ticks": 0,
    "option_over": False,
    "option_end": RUNNING,
    "option_return": 0.0,
}


class OptionSettings(NamedTuple):
    """When options end, and how their rewards are discounted."""

    commitment: int  # ticks, at least 1
    urgent: float  # need level, in [0, 1]
    gamma: float  # per tick, in [0, 1]

    def check(self) -> OptionSettings:
        """Return the settings.

        Raises:
            ConfigError: A number is out of range.
        """
        ticks = self.commitment
        if isinstance(ticks, bool) or not isinstance(ticks, int) or ticks < 1:
            raise ConfigError(
                f"commitment: expected a whole number of ticks, at least 1, found {ticks!r}"
            )
        for name, found in (("urgent", self.urgent), ("gamma", self.gamma)):
            if not 0.0 <= found <= 1.0:
                raise ConfigError(f"{name}: expected a number from 0 to 1, found {found!r}")
        return self


class Run(NamedTuple):
    """An option under way."""

    option: int
    ticks: int  # lived so far
    returned: float  # sum of gamma^k x reward over its ticks k = 0, 1, ...
    errand: Errand  # what it is about
    refused: bool  # one tick of Wait in place of a choice that was not possible


class Turn(NamedTuple):
    """What a resident does in a tick."""

    run: Run
    action: int  # a legal primitive
    illegal: bool  # the option given was not the one to take


class OptionRuns:
    """The options of one world's residents.

    Call :meth:`offer` in every new state; then, for everybody in town, :meth:`turn` before a tick
    and :meth:`advance` after it.

    Attributes:
        runs: By slot: the option under way, None for who chooses next.
    """

    def __init__(self, config: TownConfig, batch: WorldBatch, settings: OptionSettings) -> None:
        """Compile the options of a scenario for world 0 of a batch."""
        self.runs: list[Run | None] = [None] * len(config.residents)
        self._settings = settings
        self._batch = batch
        self._options = build_options(batch.plan)
        self._seats = [
            Seat(batch.plan, resident, slot) for slot, resident in enumerate(config.residents)
        ]
        self._offers = [_ONLY_WAIT] * len(self._seats)
        self._coming: list[Intent | None] = [None] * len(self._seats)
        self._needs: list[list[float]] = [[]] * len(self._seats)  # before the tick

    def resume(self, runs: Sequence[Run | None]) -> None:
        """Go on from other options under way; :meth:`offer` comes next."""
        self.runs[:] = runs
        self._coming = [None] * len(self._seats)

    def offer(self, choosers: Container[int]) -> None:
        """Find out what is possible in the present state, for the slots that may choose."""
        for slot in range(len(self._seats)):
            self._offers[slot] = self._offers_of(slot) if slot in choosers else _ONLY_WAIT
        self._needs = self._batch.worlds[0].needs[: len(self._seats)].tolist()

    def mask(self, slot: int) -> Mask:
        """Return the options that a resident may choose now: int8 (7,) of 0/1, a fresh array."""
        return np.array([offer is not None for offer in self._offers[slot]], np.int8)

    def turn(self, slot: int, given: int | None) -> Turn:
        """Return what a resident does now, given an option id or nothing.

        Who is committed goes on; to give nothing is fine then.
        """
        run = self.runs[slot]
        wanted = given if run is None else run.option
        offers = self._offers[slot]
        intent = None
        if wanted is not None and 0 <= wanted < len(offers):
            intent = offers[wanted]
        if wanted is None or intent is None:
            instead = _WAIT.intend(self._seats[slot], look(self._batch, 0, slot), NO_ERRAND)
            refused = Run(WAIT_OPTION, 0, 0.0, NO_ERRAND, refused=True)
            return Turn(refused, instead.action, illegal=True)
        run = run or Run(wanted, 0, 0.0, NO_ERRAND, refused=False)
        illegal = given is not None and given != wanted
        return Turn(run._replace(errand=intent.errand), intent.action, illegal)

    def advance(self, slot: int, turn: Turn, reward: float, *, over: bool) -> News:
        """Book a tick that was lived, and return what an info says of it.

        Args:
            slot: Who.
            turn: What was done.
            reward: Of the tick.
            over: Whether the resident's episode is over.
        """
        seat, sight, run = self._seats[slot], look(self._batch, 0, slot), turn.run
        returned = run.returned + self._settings.gamma**run.ticks * reward
        run = run._replace(ticks=run.ticks + 1, returned=returned)
        deeds = deeds_of(sight, slot)
        if run.errand.affordance in deeds.finished:
            run = run._replace(errand=NO_ERRAND)
        coming = None if over else self._options[run.option].intend(seat, sight, run.errand)
        end = EPISODE if over else self._end(slot, run, deeds, possible=coming is not None)
        self.runs[slot] = run if end == RUNNING else None
        self._coming[slot] = coming if end == RUNNING else None
        return {
            "illegal_action": int(turn.illegal),
            "option": OPTION_NAMES[run.option],
            "option_ticks": run.ticks,
            "option_over": end != RUNNING,
            "option_end": end,
            "option_return": run.returned,
        }

    def _end(self, slot: int, run: Run, deeds: Deeds, *, possible: bool) -> str:
        """Return why an option ends after this tick, or ``RUNNING``."""
        option = self._options[run.option]
        if not run.refused and option.is_done(deeds):
            return FINISHED
        if run.refused or not possible:
            return IMPOSSIBLE
        if self._is_urgent(slot, option.need):
            return URGENT
        return COMMITMENT if run.ticks >= self._settings.commitment else RUNNING

    def _is_urgent(self, slot: int, served: int) -> bool:
        """Tell whether a need that the option does not serve fell below the level in this tick."""
        before, now = self._needs[slot], self._batch.worlds[0].needs[slot].tolist()
        level = self._settings.urgent
        return any(
            now[need] < level <= before[need] for need in range(NEED_COUNT) if need != served
        )

    def _offers_of(self, slot: int) -> Offers:
        run, coming = self.runs[slot], self._coming[slot]
        if run is not None and coming is not None:
            return tuple(coming if k == run.option else None for k in range(len(OPTION_NAMES)))
        seat, sight = self._seats[slot], look(self._batch, 0, slot)
        return tuple(
            option.intend(seat, sight, NO_ERRAND if run is None else run.errand)
            if run is None or run.option == k
            else None
            for k, option in enumerate(self._options)
        )
