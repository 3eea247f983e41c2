"""What schedules name must be there, and fit; found out when a scenario is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from townlet_env.config.faults import Where
from townlet_env.config.layout import Layout, not_floor
from townlet_env.config.safe_yaml import Path_
from townlet_env.config.schema import ResidentConfig, TownConfig
from townlet_env.config.steps import (
    ChatStep,
    GoStep,
    RepeatStep,
    RequestStep,
    StartStep,
    Step,
    UseStep,
    WorkStep,
)
from townlet_env.errors import ConfigError, nearest


def check_schedules(config: TownConfig, layout: Layout, where: Where) -> None:
    """Check every name in every schedule.

    Args:
        config: The scenario.
        layout: Its cells.
        where: Says for a message where a key stands.

    Raises:
        ConfigError: An unknown object, affordance or resident; an affordance at an object of the
            wrong kind; a way to where nobody can stand; work without a job.
    """
    for index, resident in enumerate(config.residents):
        path = ("residents", index, "schedule")
        _Reader(config, layout, where, resident).check(resident.schedule, path)


class _Reader:
    """Checks the steps of one resident."""

    def __init__(
        self, config: TownConfig, layout: Layout, where: Where, resident: ResidentConfig
    ) -> None:
        self._layout, self._where, self._resident = layout, where, resident
        self._affordances = config.catalogue.affordances
        self._kinds = {thing.id: thing.kind for thing in config.objects}
        self._others = [other.id for other in config.residents if other.id != resident.id]

    def check(self, steps: Sequence[Step], path: Path_) -> None:
        for index, step in enumerate(steps):
            here = (*path, index)
            if isinstance(step, RepeatStep):
                self.check(step.repeat.steps, (*here, "repeat", "steps"))
            elif isinstance(step, GoStep):
                self._check_goal(step, (*here, "go"))
            elif isinstance(step, UseStep):
                self._check_use(step, here)
            elif isinstance(step, RequestStep):
                self._known(step.request, self._kinds, "object", (*here, "request"))
            elif isinstance(step, StartStep):
                self._known(step.start, self._affordances, "affordance", (*here, "start"))
            elif isinstance(step, ChatStep):
                self._known(step.chat, self._others, "resident", (*here, "chat"))
            elif isinstance(step, WorkStep) and self._resident.job is None:
                at = self._where((*here, "work"))
                raise ConfigError(f"{at}: expected a job for {self._resident.id}, found none")

    def _check_goal(self, step: GoStep, path: Path_) -> None:
        if isinstance(step.go, str):
            self._known(step.go, self._kinds, "object", path)
            return
        found = not_floor(self._layout, step.go)
        if found is not None:
            hint = "; to go next to it, name it" if step.go in self._layout.object_cells else ""
            raise ConfigError(f"{self._where(path)}: expected a floor cell, found {found}{hint}")

    def _check_use(self, step: UseStep, path: Path_) -> None:
        self._known(step.use, self._affordances, "affordance", (*path, "use"))
        kinds = self._affordances[step.use].kinds
        if step.at is None:
            if not set(kinds) & set(self._kinds.values()):
                at = self._where((*path, "use"))
                raise ConfigError(f"{at}: expected a {' or '.join(kinds)} in town, found none")
            return
        self._known(step.at, self._kinds, "object", (*path, "at"))
        if self._kinds[step.at] not in kinds:
            raise ConfigError(
                f"{self._where((*path, 'at'))}: expected a {' or '.join(kinds)} for {step.use}, "
                f"found {step.at}, a {self._kinds[step.at]}"
            )

    def _known(self, name: str, names: Iterable[str], what: str, path: Path_) -> None:
        if name not in names:
            raise ConfigError(f"{self._where(path)}: unknown {what} {name!r}{nearest(name, names)}")
