"""Best checkpoints: chosen on one half of the episodes, reported on the other."""

from __future__ import annotations

import numpy as np
import pytest
from comparisons import made_up

from townlet_replay.compare.best import HOW, best_of, best_sheet, crossed
from townlet_replay.compare.findings import Findings
from townlet_replay.compare.page import html_of
from townlet_replay.compare.text import escaped, markdown, table
from townlet_replay.errors import TrainingError


def test_each_half_is_scored_by_the_choice_of_the_other():
    first, second = (1.0, 0.0, 3.0, 2.0), (0.0, 4.0, 2.0, 0.0)
    # Even places: 2 against 1, so the first; odd ones: 1 against 2, so the second.
    # Odd places of the first: 0, 2; even ones of the second: 0, 2. Both have 1.5 over all.
    assert crossed([first, second]) == (1.0, 0, 1)
    # Three episodes: even places choose the second, which has 7 there; odd ones the first.
    assert crossed([(0.0, 9.0, 3.0), (6.0, 7.0, 6.0)]) == (pytest.approx(10 / 3), 1, 0)


def test_equal_checkpoints_do_not_look_better_for_being_many():
    rng = np.random.default_rng(7)
    runs, checkpoints, episodes = 600, 12, 16
    hard = rng.normal(0.0, 1.0, (runs, 1, episodes))  # evaluation seeds that all have in common
    scores = hard + rng.normal(0.0, 1.0, (runs, checkpoints, episodes))
    truth = hard.mean()
    naive = scores.mean(axis=2).max(axis=1).mean() - truth
    ours = np.mean([crossed(run).score for run in scores]) - truth
    # The highest of 12 means, each with an error of 1 / 4, is 0.41 too high.
    assert naive > 0.35
    # The mean over 600 runs has an error of about 1 / 4 / sqrt(600) = 0.01.
    assert abs(ours) < 0.04


def test_a_checkpoint_that_is_better_is_found():
    rng = np.random.default_rng(8)
    scores = rng.normal(0.0, 1.0, (300, 6, 16))
    scores[:, 2] += 2.0
    found = [crossed(run) for run in scores]
    assert np.mean([one.score for one in found]) == pytest.approx(2.0, abs=0.06)
    assert np.mean([one.by_even == 2 and one.by_odd == 2 for one in found]) > 0.95


def test_one_checkpoint_has_its_mean_and_one_episode_none():
    scores = (0.1, 0.7, 0.4)
    assert crossed([scores]) == (float(np.mean(scores)), 0, 0)
    assert crossed([(1.0,), (2.0,)]) is None
    with pytest.raises(TrainingError, match="by checkpoint and episode"):
        crossed(scores)


def turned(found, name, order):
    """The comparison with the checkpoints of an arm in another order of scores."""

    def moved(run):
        plays = [{"sampled": run.points[k].sampled, "greedy": run.points[k].greedy} for k in order]
        points = (p.model_copy(update=new) for p, new in zip(run.points, plays, strict=True))
        return run.model_copy(update={"points": tuple(points)})

    arms = (
        arm.model_copy(update={"runs": tuple(map(moved, arm.runs))}) if arm.name == name else arm
        for arm in found.arms
    )
    return found.model_copy(update={"arms": tuple(arms)})


def test_an_arm_that_got_worse_shows_where_it_was_best():
    findings = Findings(turned(made_up(), "live_native", (0, 2, 1)))
    found = best_of(findings, findings.comparison.arm("live_native"), greedy=False)
    assert found.score.value == pytest.approx(1.3)
    assert found.score.low < 1.3 < found.score.high
    assert found.live_steps == 100
    (line,) = (v for v in findings.verdicts() if v.arm.name == "live_native")
    assert line.normalised.value == pytest.approx(0.7)
    cells = best_sheet(findings).rows[0]
    assert (cells[1][:4], cells[2][:4], cells[3]) == ("0.70", "1.30", "100")
    assert (cells[4][:4], cells[5][:4], cells[6]) == ("0.80", "1.40", "100")


def test_the_table_is_in_both_forms_with_a_dash_where_there_is_no_figure():
    findings = Findings(made_up())
    sheet = best_sheet(findings)
    rows = {row[0]: row for row in sheet.rows}
    assert rows["script"] == ("script", "1.00", "1.00", "0", "-", "-", "-")
    assert "capture_native" not in rows  # it was refused
    text = markdown(findings, {})
    assert table(sheet) in text
    assert escaped(HOW) in text
    page = html_of(findings).split('<section id="best">')[1].split("</section>")[0]
    assert HOW in page
    assert all(cell in page for row in sheet.rows for cell in row)


def test_one_episode_and_no_references():
    found = made_up()

    def short(play):
        return None if play is None else play.model_copy(update={"scores": play.scores[:1]})

    def cut(point):
        return point.model_copy(
            update={"sampled": short(point.sampled), "greedy": short(point.greedy)}
        )

    live = found.arms[0]
    runs = tuple(
        run.model_copy(update={"points": tuple(map(cut, run.points))}) for run in live.runs
    )
    once = Findings(found.model_copy(update={"arms": (live.model_copy(update={"runs": runs}),)}))
    (row,) = best_sheet(once).rows
    assert (row[2], row[3], row[5], row[6]) == ("-",) * 4
    alone = Findings(found.model_copy(update={"arms": (live,)}))
    assert best_sheet(alone).rows[0][2].startswith("1.30")  # returns, as there is no scale
