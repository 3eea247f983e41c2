"""What a comparison says in words: a sentence stands where the numbers carry it, and only there."""

from __future__ import annotations

import pytest
from comparisons import made_up

from townlet_replay.compare.charts import all_charts
from townlet_replay.compare.findings import Findings
from townlet_replay.compare.page import html_of
from townlet_replay.compare.plotly_charts import figure_of
from townlet_replay.compare.sentences import sentences
from townlet_replay.compare.text import markdown


def said(found):
    return "\n".join(sentences(Findings(found)))


def with_scores(found, name, scores, *, greedy=None):
    """Return the comparison with other final scores, one per seed."""
    arm = found.arm(name)
    runs = []
    for run, value in zip(arm.runs, scores, strict=False):
        last = run.points[-1]
        changes = {"sampled": last.sampled.model_copy(update={"scores": (value, value)})}
        if greedy is not None:
            changes["greedy"] = last.greedy.model_copy(update={"scores": (greedy, greedy)})
        point = last.model_copy(update=changes)
        runs.append(run.model_copy(update={"points": (*run.points[:-1], point)}))
    other = arm.model_copy(update={"runs": tuple(runs)})
    arms = tuple(other if a.name == name else a for a in found.arms)
    return found.model_copy(update={"arms": arms})


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((1.90, 1.91, 1.92), "Above the script (95% interval above 1): "),
        ((0.50, 0.51, 0.52), "Below the script (95% interval below 1): "),
        ((0.9, 1.1, 1.3), "Nothing shown against the script (95% interval holds 1): "),
        ((0.5, 0.5, 0.5), "Nothing shown against the script (the seeds do not vary): "),
        ((0.5,), "Nothing shown against the script (one seed has no interval): "),
    ],
)
def test_the_script_is_beaten_only_by_an_interval(scores, expected):
    lines = sentences(Findings(with_scores(made_up(), "bc", scores)))
    (about,) = [line for line in lines if "the script (" in line and " bc " in line]
    assert about.startswith(expected)


@pytest.mark.parametrize(
    ("scores", "expected", "figure"),
    [
        ((9.0, 9.1, 9.2), "Higher than live_native", " bc +"),
        ((0.1, 0.2, 0.3), "Lower than live_native", " bc -"),
        ((1.2, 1.3, 1.5), "Nothing shown against live_native", " bc +"),
    ],
)
def test_the_baseline_is_beaten_only_where_zero_is_left_out(scores, expected, figure):
    lines = sentences(Findings(with_scores(made_up(), "bc", scores)))
    (line,) = [line for line in lines if "live_native" in line and figure in line]
    assert line.startswith(expected)
    assert ("would notice" in line) == expected.startswith("Nothing shown")


def test_arms_without_spread_are_not_called_different():
    found = with_scores(made_up(), "bc", (5.0, 5.0, 5.0))
    found = with_scores(found, "live_native", (1.0, 1.0, 1.0))
    assert "Nothing shown against live_native (no seeds vary): bc." in said(found)


def test_steps_are_compared_only_where_every_run_got_there():
    text = said(made_up())
    (line,) = [line for line in text.splitlines() if line.startswith("First seen")]
    assert " bc 320 (" in line
    assert "live_sb3" not in line
    never = with_scores(made_up(), "live_native", (0.1, 0.2, 0.3))
    assert "First seen" not in said(never)


def test_greedy_play_is_named_where_it_is_far_worse_under_every_seed():
    assert "Greedy play" not in said(made_up())
    worse = said(with_scores(made_up(), "bc", (1.005, 1.105, 1.205), greedy=0.035))
    assert "Greedy play of bc scores 0.03, near chance, sampled 1.10" in worse
    mixed = said(with_scores(made_up(), "bc", (0.1, 1.1, 1.2), greedy=0.0))
    assert "Greedy play" not in mixed


def test_recordings_refusals_and_interruptions_are_named():
    text = said(made_up())
    assert "bc: the audit of The capture failed." in text
    assert "effective sample size" not in text
    assert "capture_native was refused: a town" in text
    assert "incomplete" not in text
    assert "incomplete" in said(made_up(complete=False))
    found = made_up()
    arm = found.arm("bc")
    cards = (arm.runs[0].cards[0].model_copy(update={"audit": "passed", "ess": 0.02}),)
    runs = tuple(run.model_copy(update={"cards": cards}) for run in arm.runs)
    arms = tuple(a.model_copy(update={"runs": runs}) if a.name == "bc" else a for a in found.arms)
    text = said(found.model_copy(update={"arms": arms}))
    assert "the audit of" not in text
    assert "bc: the effective sample size of The capture is down to 0.020" in text


def test_bits_are_claimed_of_the_learner_that_kept_them():
    lines = sentences(Findings(made_up()))
    native, sb3 = [line for line in lines if line.startswith("Training on stored")]
    assert "gave the bits of live training: native learner" in native
    assert "was not shown to give the bits of live training: MaskablePPO" in sb3


def test_few_seeds_are_said_to_be_few():
    assert "Few seeds rarely tell arms apart." in said(made_up())
    assert "Few seeds" not in said(made_up(seeds=10))


def test_page_and_markdown_say_it():
    findings = Findings(made_up())
    assert "<h3>In words</h3>" in html_of(findings)
    assert "### In words" in markdown(findings, {})


def test_panels_that_show_the_same_arms_share_one_legend():
    page = html_of(Findings(made_up()))
    assert page.count('<ul class="keys">') == 3
    curves = page.split('<section id="curves">')[1].split("</section>")[0]
    assert curves.count("</span> live_sb3</li>") == 1
    charts = [chart for chart in all_charts(Findings(made_up())) if chart.group == "curves"]
    assert len(charts) > 1
    assert not any(figure_of(chart)["layout"]["showlegend"] for chart in charts)
