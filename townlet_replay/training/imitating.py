"""Runs that imitate a capture, and their epochs in the books."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from townlet_replay.dataset import ReplayDataset
from townlet_replay.policy.network import TownletNetwork
from townlet_replay.rollout import pack
from townlet_replay.sample import ReplaySample
from townlet_replay.training.awr import AWRConfig, run_awr
from townlet_replay.training.bc import BCConfig, BCResult, run_bc
from townlet_replay.training.books import Books
from townlet_replay.training.judging import intents, samples_of
from townlet_replay.training.records import awr_record, bc_record


def clone(
    network: TownletNetwork,
    dataset: ReplayDataset,
    config: BCConfig,
    rng: np.random.Generator,
    books: Books,
) -> BCResult:
    """Clone what was meant in a capture, and book every pass; see ``run_bc``."""
    samples = samples_of(dataset)
    before = time.perf_counter()
    result = run_bc(network, pack(samples), config, rng, intent_actions=intents(samples))
    seconds = (time.perf_counter() - before) / len(result.epochs)
    for epoch in result.epochs:
        books.standing.steps += result.rows
        progress = books.progress("replay", 0, seconds, epoch.learning_rate)
        books.book(bc_record(epoch, result.rows, progress, dataset.baselines(), dataset.metrics))
    return result


def imitate_the_better(
    network: TownletNetwork,
    dataset: ReplayDataset,
    config: AWRConfig,
    rng: np.random.Generator,
    books: Books,
    revalued: Callable[[ReplaySample], ReplaySample],
) -> None:
    """Imitate a capture, the more the better it turned out, and book every pass.

    Args:
        network: Trained in place.
        dataset: The capture.
        config: Settings.
        rng: Draws the order of the rows.
        books: Of the run.
        revalued: Gives a sample the values of the network as it is now.
    """
    samples = samples_of(dataset)
    before = time.perf_counter()
    epochs = run_awr(network, lambda: pack([revalued(s) for s in samples]), config, rng)
    seconds = (time.perf_counter() - before) / len(epochs)
    for epoch in epochs:
        books.standing.steps += epoch.rows
        progress = books.progress("replay", 0, seconds, epoch.learning_rate)
        books.book(awr_record(epoch, progress, dataset.baselines(), dataset.metrics))
