"""Tasks of a comparison, done here one after the other, or by several processes."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import queue
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from townlet_replay.compare.bench import Bench, Situation, Task
from townlet_replay.compare.course import Course, Watch
from townlet_replay.compare.keeping import Keeper
from townlet_replay.compare.results import CompareSettings
from townlet_replay.errors import TrainingError
from townlet_replay.training.config import TrainConfig

_GLANCE = 0.2  # seconds between two looks at what the others say


class Order(NamedTuple):
    """Everything a process needs to do tasks."""

    config: TrainConfig
    settings: CompareSettings
    directory: Path
    identity: dict[str, Any]
    situation: Situation
    threads: int

    def bench(self, watch: Watch) -> Bench:
        """Return where tasks are done."""
        course = Course.plan(self.config, self.settings, self.directory)
        return Bench(course, Keeper(self.directory, self.identity), self.situation, watch)


def do_here(order: Order, tasks: Iterable[Task], watch: Watch) -> None:
    """Do tasks one after the other.

    Args:
        order: What they need.
        tasks: Such that what one needs comes before it.
        watch: Called after every examination.
    """
    bench = order.bench(watch)
    for task in tasks:
        bench.do(task)


def do_in_processes(order: Order, tasks: Iterable[Task], jobs: int, watch: Watch) -> None:
    """Do tasks in ``jobs`` processes; a task begins when what it needs is done.

    Processes are spawned, so that none inherits threads or random states. Results do not depend on
    how many there are. Ctrl-C ends them; what is finished is on disk.

    Args:
        order: What they need.
        tasks: Such that what one needs comes before it.
        jobs: How many processes.
        watch: Called after every examination.

    Raises:
        TownletError: One of the tasks failed as a whole, such as on a full disk.
        TrainingError: A process ended before its task did.
    """
    waiting = list(tasks)
    context = multiprocessing.get_context("spawn")
    notes: Any = context.Queue()
    with _processes(ProcessPoolExecutor(jobs, context, _begin, (order, notes))) as pool:
        running: dict[Future[None], Task] = {}
        while waiting or running:
            blocking = {*waiting, *running.values()}
            ready = [task for task in waiting if task.needs not in blocking]
            running |= {pool.submit(_do, task): task for task in ready}
            waiting = [task for task in waiting if task not in ready]
            finished, _ = wait(running, timeout=_GLANCE, return_when=FIRST_COMPLETED)
            _pass_on(notes, watch)
            for future in finished:
                task = running.pop(future)
                try:
                    future.result()
                except BrokenProcessPool as error:
                    raise TrainingError(
                        f"{task.name}: a process ended before its task did (out of memory, or "
                        "killed); finished runs are kept, the same command goes on with the rest"
                    ) from error
        _pass_on(notes, watch)


@contextmanager
def _processes(pool: ProcessPoolExecutor) -> Iterator[ProcessPoolExecutor]:
    """Give a pool out; should something go wrong, its processes end at once."""
    before = set(multiprocessing.active_children())
    try:
        yield pool
    except BaseException:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()


def _pass_on(notes: Any, watch: Watch) -> None:
    while True:
        try:
            watch(notes.get_nowait())
        except queue.Empty:
            return


class _Worker:
    """What a process of a pool remembers between tasks."""

    bench: Bench | None = None


def _begin(order: Order, notes: Any) -> None:
    """Make a process ready; Ctrl-C is for the one that started it."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(order.threads)
    _Worker.bench = order.bench(notes.put)


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, however it went.

    Left alone it would go on writing into a folder that the next comparison takes over.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _do(task: Task) -> None:
    if _Worker.bench is None:
        raise TrainingError("expected a process that was made ready, found one that was not")
    _Worker.bench.do(task)
