"""How far a policy agrees with what it was shown."""

from __future__ import annotations

import numpy as np
import pytest
from comparisons import BRIEF, training

from townlet_replay.compare.course import Course, lesson_of
from townlet_replay.compare.exam import agreement
from townlet_replay.training.harness import TrainingHarness


def test_agreement_counts_choices_only_and_falls_with_every_other_choice(tmp_path):
    config = training()
    course = Course.plan(config, BRIEF, tmp_path)
    course.record_scripts()
    lesson = lesson_of(course.capture())
    network = TrainingHarness(config).network
    legal = (lesson.action_mask != 0).sum(axis=1)
    chosen = np.concatenate(
        [
            np.where(lesson.action_mask[i] != 0, logits, -np.inf).argmax(keepdims=True)
            for i, logits in enumerate(_logits(network, lesson))
        ]
    )
    mine = lesson._replace(actions=chosen.astype(np.int64))
    assert agreement(network, mine) == 1.0
    # Every third row is left without a choice, and can no longer count.
    forced = np.arange(0, len(legal), 3)
    mask = mine.action_mask.copy()
    mask[forced] = 0
    mask[forced, chosen[forced]] = 1
    mine = mine._replace(action_mask=mask)
    choice = np.flatnonzero((mask != 0).sum(axis=1) > 1)
    # Another legal action, in a quarter of the rows with a choice.
    changed = choice[::4]
    actions = mine.actions.copy()
    for row in changed:
        others = np.flatnonzero(lesson.action_mask[row])
        actions[row] = others[others != actions[row]][0]
    share = agreement(network, mine._replace(actions=actions))
    assert share == pytest.approx(1 - len(changed) / len(choice))


def _logits(network, lesson):
    import torch

    with torch.no_grad():
        tensors = network.spec.tensors(lesson.observations, network.device)
        return network(tensors)[0].numpy()


def test_a_noisy_capture_teaches_what_was_meant(tmp_path):
    settings = BRIEF.model_copy(update={"capture_epsilon": 0.5})
    course = Course.plan(training(), settings, tmp_path)
    course.record_scripts()
    dataset = course.capture()
    lesson = lesson_of(dataset)
    done = np.concatenate([dataset.sample(i).actions for i in range(dataset.count)])
    meant = np.concatenate(
        [dataset.sample(i).extras["intent_actions"] for i in range(dataset.count)]
    )
    assert (done != meant).any()
    np.testing.assert_array_equal(lesson.actions, meant)
