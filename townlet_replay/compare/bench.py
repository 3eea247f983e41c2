"""One piece of a comparison at a time: what a process does with its tasks."""

from __future__ import annotations

from typing import Literal, NamedTuple, cast

from townlet_env.errors import TownletError
from townlet_env.policies.crew import scripted_residents
from townlet_replay.compare import native_arms
from townlet_replay.compare.course import Course, Watch, lesson_of
from townlet_replay.compare.exam import Examiner
from townlet_replay.compare.keeping import CloneFile, Keeper, ParityFile, RunFile, StartFile
from townlet_replay.compare.native_arms import Clone, Start
from townlet_replay.compare.results import REFERENCES, ArmName, Point, Run, WallClock
from townlet_replay.dataset import ReplayDataset
from townlet_replay.errors import DiskError, TrainingError
from townlet_replay.evaluation import script_actor
from townlet_replay.policy.checkpoint import load_checkpoint, save_checkpoint

CAPTURE_ARMS: tuple[ArmName, ...] = ("capture_native", "capture_sb3")
CLONE_ARMS: tuple[ArmName, ...] = ("bc", "bc_then_live")
LEARNERS: tuple[Literal["native", "sb3"], ...] = ("native", "sb3")

_HOW: dict[ArmName, str] = {
    "live_native": "PPO in the town, from fresh weights",
    "live_sb3": "PPO in the town, from fresh weights",
    "bc": "behaviour cloning of the capture",
    "bc_then_live": "behaviour cloning of the capture, then PPO in the town",
    "script": "the scenario's own scripts",
    "random": "uniform over the legal actions",
}


class Task(NamedTuple):
    """Something to be done by one process."""

    kind: Literal["arm", "prepare", "parity"]
    who: str  # arm or learner
    seed: int | None

    @property
    def name(self) -> str:
        """Of the file that says it is finished."""
        who = self.who if self.kind != "parity" else f"parity_{self.who}"
        return who if self.seed is None else f"{who}.seed_{self.seed}"

    @property
    def needs(self) -> Task | None:
        """What must be done before."""
        if self.kind == "arm" and self.who in (*CAPTURE_ARMS, *CLONE_ARMS):
            return Task("prepare", "clone", self.seed)
        return None


class Situation(NamedTuple):
    """What the tasks of a comparison find when they begin."""

    no_capture: str | None  # why there is none; None: there is one
    recording: float  # seconds that it took


class Bench:
    """Does tasks and keeps what they come to.

    Args:
        course: The comparison.
        keeper: Of its finished work.
        situation: What there is.
        watch: Called after every examination of a run.
    """

    def __init__(self, course: Course, keeper: Keeper, situation: Situation, watch: Watch) -> None:
        self._course, self._keeper = course, keeper
        self._situation, self._watch = situation, watch
        self._examiner = Examiner(course.scenario, course.evaluation_seeds)
        self._opened: ReplayDataset | None = None
        if situation.no_capture is None:
            self._examiner.lesson = lesson_of(self._capture())

    def do(self, task: Task) -> None:
        """Do a task, unless its file is there.

        Raises:
            CaptureError: The disk refuses.
        """
        if task.kind == "prepare":
            self._prepare(int(task.seed or 0))
        elif task.kind == "parity":
            self._parity(task)
        elif self._keeper.read(task.name, RunFile) is None:
            self._keeper.write(task.name, self._arm(cast(ArmName, task.who), task.seed))

    def _prepare(self, seed: int) -> None:
        """Make what several arms of a seed share; who needs it says why it cannot be made."""
        arms = set(self._course.settings.arms)
        try:
            if arms & set(CLONE_ARMS):
                self._clone(seed)
            if arms & set(CAPTURE_ARMS):
                self._start(seed)
        except DiskError:
            raise
        except TownletError as error:
            self._watch(f"seed {seed}: {error}")

    def _arm(self, name: ArmName, seed: int | None) -> RunFile:
        """Train and examine one arm under one seed, or note why it is refused."""
        self._examiner.begin()
        how, run, clock, refused = _HOW.get(name, ""), None, None, None
        try:
            if seed is None:
                run, before = self._reference(name), 0.0
            elif name in CAPTURE_ARMS:
                how, run, before = self._on_capture(name, seed)
            elif name in CLONE_ARMS:
                run, before = self._from_clone(name, seed)
            else:
                run, before = self._live(name, seed), 0.0
        except DiskError:
            raise  # nothing is wrong with the arm
        except TownletError as error:
            refused = str(error)
        else:
            clock = self._clock(name, seed, run, before)
        return RunFile(
            identity=self._keeper.seal,
            arm=name,
            seed=seed,
            how=how,
            refused=refused,
            run=run,
            clock=clock,
        )

    def _clock(self, name: ArmName, seed: int | None, run: Run, before: float) -> WallClock:
        """Charge a run with what was done for it before."""
        own = [before + moment for moment in self._examiner.moments]
        earlier = self._moments(seed, len(run.points) - len(own)) if seed is not None else ()
        return WallClock(
            arm=name,
            seed=seed,
            training=before + self._examiner.training,
            evaluation=self._examiner.seconds,
            points=(*earlier, *own) if len(run.points) > 1 else (0.0,),
        )

    def _moments(self, seed: int, count: int) -> tuple[float, ...]:
        """Return when the first points, those of the clone, were made."""
        file = self._keeper.read(f"clone.seed_{seed}", CloneFile) if count else None
        if file is None:
            return ()
        untrained, cloned = file.moments
        return untrained, cloned + self._situation.recording

    def _reference(self, name: ArmName) -> Run:
        scenario = self._course.scenario
        if name == "script" and len(scripted_residents(scenario)) < len(scenario.residents):
            raise TrainingError("somebody in the scenario has no script, so nobody can follow all")
        actor = script_actor(scenario, "random" if name == "random" else None)
        point = Point(
            stage="plays",
            live_steps=0,
            captured_steps=0,
            gradient_steps=0,
            sampled=self._examiner.play(actor),
            greedy=None,
        )
        self._watch(name)
        return Run(seed=None, points=(point,))

    def _live(self, name: ArmName, seed: int) -> Run:
        if name == "live_native":
            return native_arms.train_live(self._course, seed, self._examiner, self._watch)
        from townlet_replay.compare import sb3_arms

        return sb3_arms.train_live(self._course, seed, self._examiner, self._watch)

    def _from_clone(self, name: ArmName, seed: int) -> tuple[Run, float]:
        """Return a run and the seconds spent on it before."""
        clone, before = self._clone(seed)
        self._examiner.begin()
        if name == "bc":
            self._watch(f"bc, seed {seed}")
            return clone.run.model_copy(update={"seed": seed}), before
        course, examiner = self._course, self._examiner
        return native_arms.train_live(course, seed, examiner, self._watch, clone), before

    def _on_capture(self, name: ArmName, seed: int) -> tuple[str, Run, float]:
        start, before = self._start(seed)
        fresh = start.clone is None
        if not fresh:
            self._examiner.begin()
        if name == "capture_native":
            run = native_arms.train_on_capture(self._course, seed, start, self._examiner)
        else:
            from townlet_replay.compare import sb3_arms

            run = sb3_arms.train_on_capture(self._course, seed, start, self._examiner)
        self._watch(f"{name}, seed {seed}")
        return start.how, run, before

    def _capture(self) -> ReplayDataset:
        if self._situation.no_capture is not None:
            raise TrainingError(self._situation.no_capture)
        if self._opened is None:
            self._opened = self._course.capture()
        return self._opened

    def _clone(self, seed: int) -> tuple[Clone, float]:
        """Read a clone, or make it, and return it with the seconds it and its capture took."""
        name, recording = f"clone.seed_{seed}", self._situation.recording
        file = self._keeper.read(name, CloneFile)
        if file is not None:
            network = load_checkpoint(self._keeper.path(name)).network
            return Clone(network, file.points, file.triptych, file.card), (
                recording + file.training
            )
        capture = self._capture()
        self._examiner.begin()
        clone = native_arms.make_clone(self._course, capture, seed, self._examiner)
        training, evaluation = self._examiner.training, self._examiner.seconds
        save_checkpoint(self._keeper.path(name), clone.network)
        self._keeper.write(
            name,
            CloneFile(
                identity=self._keeper.seal,
                points=clone.points,
                triptych=clone.triptych,
                card=clone.card,
                moments=tuple(self._examiner.moments),
                training=training,
                evaluation=evaluation,
            ),
        )
        return clone, recording + training

    def _start(self, seed: int) -> tuple[Start, float]:
        """Return where PPO on the capture begins, with the seconds spent before."""
        file = self._keeper.read(f"start.seed_{seed}", StartFile) or self._make_start(seed)
        if file.objective == "ppo":
            self._examiner.begin()
            start = native_arms.start_fresh(
                self._course, self._capture(), seed, self._examiner, biased=file.biased
            )
            return start, self._situation.recording
        clone, before = self._clone(seed)
        folder = self._course.clone_folder(seed)
        recorded = self._course.dataset(folder) if file.recorded else None
        return native_arms.start_with_clone(clone, recorded), before + file.training

    def _make_start(self, seed: int) -> StartFile:
        verdict = native_arms.verdict_on(self._course, self._capture(), seed)
        recorded, seconds = False, 0.0
        if verdict.name != "ppo" and self._course.config.objective != "bc":
            clone, _ = self._clone(seed)
            self._examiner.begin()
            self._course.record_network(clone.network, seed)
            recorded, seconds = True, self._examiner.training
        file = StartFile(
            identity=self._keeper.seal,
            objective=verdict.name,
            biased=verdict.biased,
            recorded=recorded,
            training=seconds,
        )
        self._keeper.write(f"start.seed_{seed}", file)
        return file

    def _parity(self, task: Task) -> None:
        if self._keeper.read(task.name, ParityFile) is not None:
            return
        if task.who == "native":
            from townlet_replay.compare.replaying import check_native as checked
        else:
            from townlet_replay.compare.sb3_replaying import check_sb3 as checked
        check, refused = None, None
        try:
            check = checked(self._course)
        except DiskError:
            raise
        except TownletError as error:
            refused = str(error)
        self._watch(f"parity, {task.who}")
        self._keeper.write(
            task.name, ParityFile(identity=self._keeper.seal, check=check, refused=refused)
        )


def tasks_of(course: Course) -> list[Task]:
    """Return what a comparison consists of, in an order in which it can be done."""
    settings, found = course.settings, []
    arms = tuple(dict.fromkeys(settings.arms))
    # References first: even an interrupted comparison can then be scaled.
    found += [Task("arm", name, None) for name in arms if name in REFERENCES]
    needing = [name for name in arms if name in (*CAPTURE_ARMS, *CLONE_ARMS)]
    if needing:
        found += [Task("prepare", "clone", seed) for seed in course.training_seeds]
    if set(CAPTURE_ARMS) & set(arms):
        asked = {name.removeprefix("capture_") for name in arms if name in CAPTURE_ARMS}
        found += [Task("parity", learner, None) for learner in LEARNERS if learner in asked]
    long = [name for name in arms if name not in (*REFERENCES, *needing)]
    long += [name for name in needing if name == "bc_then_live"]
    short = [name for name in needing if name != "bc_then_live"]
    found += [Task("arm", name, seed) for name in (*long, *short) for seed in course.training_seeds]
    return found
