"""What a report says: numbers worked out from results, and the same in every form."""

from __future__ import annotations

import base64
import hashlib
import re
import sys

import numpy as np
import pytest
from comparisons import HOSTILE, made_up

from townlet_replay.compare import wording
from townlet_replay.compare.charts import all_charts
from townlet_replay.compare.findings import Findings
from townlet_replay.compare.page import html_of
from townlet_replay.compare.pictures import picture_of
from townlet_replay.compare.plotly_charts import figure_of
from townlet_replay.compare.report import stages_table, summary_table, write_report
from townlet_replay.compare.text import markdown
from townlet_replay.errors import TrainingError


@pytest.fixture(scope="module")
def findings():
    return Findings(made_up())


def line_of(findings, arm):
    return next(line for line in findings.verdicts() if line.arm.name == arm)


def test_a_verdict_has_scores_chances_and_four_budgets(findings):
    live, bc = line_of(findings, "live_native"), line_of(findings, "bc")
    # Two episodes a hundredth apart; seeds a tenth.
    assert live.sampled.value == pytest.approx(1.2 + 0.1 + 0.005)
    assert live.normalised.value == pytest.approx((1.305 - 0.005) / 1.0)
    assert live.normalised.low < live.normalised.value < live.normalised.high
    assert live.normalised_greedy.value == pytest.approx(live.normalised.value + 0.1)
    assert live.improvement is None
    assert findings.baseline.name == "live_native"
    # bc: 1.1, 1.2, 1.3 against 1.2, 1.3, 1.4: one pair of nine is better, two are ties.
    assert bc.improvement.value == pytest.approx((1 + 2 * 0.5) / 9)
    assert (bc.budget.live, bc.budget.captured, bc.budget.total) == (0, 320, 320)
    assert (live.budget.total, live.budget.gradient, live.budget.seconds) == (200, 20, 7.0)
    assert line_of(findings, "capture_native").budget is None
    assert line_of(findings, "script").normalised == (1.0, None, None)


def test_curves_lie_along_what_they_are_charged(findings):
    by_axis = {
        axis: {curve.arm: curve for curve in findings.curves(axis, greedy=False)}
        for axis in ("live", "total", "gradient", "seconds")
    }
    assert by_axis["live"]["bc"].x == (0.0, 0.0)
    assert by_axis["total"]["bc"].x == (0.0, 320.0)
    assert by_axis["gradient"]["live_sb3"].x == (0.0, 10.0, 20.0)
    assert by_axis["seconds"]["live_native"].x == (0.0, 1.0, 2.0)
    seeds = by_axis["live"]["live_native"].seeds
    assert seeds[2] == pytest.approx((0.0, 0.8, 1.4), abs=1e-9)
    assert by_axis["live"]["live_native"].estimates[2].value == pytest.approx(1.3)


def test_runs_that_never_get_there_are_censored(findings):
    steps = {found.arm: found for found in findings.steps_to(1.0, "live")}
    assert [a.reached for a in steps["live_sb3"].arrivals] == [True, True, False]
    assert steps["live_sb3"].median == 200
    assert steps["bc"].median == 0
    assert findings.steps_to(1.0, "total")[2].median == 320
    never = {found.arm: found for found in findings.steps_to(9.0, "live")}
    assert never["live_native"].median is None
    sheet = wording.threshold_sheet(findings)
    assert ("live_sb3", "1", "2 of 3", "200", "200") in sheet.rows


def test_equality_is_asked_of_the_pairs_that_are_there(findings):
    (pair,) = findings.pairs()
    assert (pair.first, pair.second) == ("live_native", "live_sb3")
    assert pair.found.margin == pytest.approx(0.05)
    assert pair.found.verdict == "open"
    both = Findings(made_up(arms=("live_native", "live_sb3", "capture_sb3")))
    assert [(p.first, p.second) for p in both.pairs()] == [
        ("capture_sb3", "live_sb3"),
        ("live_native", "live_sb3"),
    ]


def test_the_same_weights_get_the_badge():
    found = made_up(arms=("live_native", "live_sb3"))
    native = found.arm("live_native")
    twin = native.model_copy(update={"name": "live_sb3"})
    same = found.model_copy(update={"arms": (native, twin, *found.arms[2:])})
    (pair,) = Findings(same).pairs()
    assert pair.found.verdict == "bitwise"
    assert "the same weights, to the bit" in wording.pair_sheet(Findings(same)).rows[0]


def test_without_references_scores_stay_returns(findings):
    found = made_up()
    alone = Findings(found.model_copy(update={"arms": found.arms[:1]}))
    assert alone.scale is None
    assert alone.pairs() == alone.steps_to(1.0, "live") == []
    assert alone.verdicts()[0].normalised is None
    assert "there are none here" in wording.scale_in_words(alone)
    assert html_of(alone)


def test_parity_is_said_as_far_as_it_holds(findings):
    held, parted = findings.comparison.parity
    assert wording.parity_in_words(held).startswith("native learner: bitwise through update 6")
    assert wording.parity_in_words(parted).startswith("MaskablePPO: parts at update 4 of 6")
    why = made_up(parity_refused={"sb3": "a minibatch of one row"})
    badges = wording.badges(Findings(why))
    assert [held for held, _ in badges] == [True, False, False]
    assert badges[2][1] == "MaskablePPO: not checked: a minibatch of one row"


def test_few_seeds_are_said_to_be_few():
    texts = {n: wording.seeds_in_words(Findings(made_up(seeds=n))) for n in (1, 3, 7, 10)}
    assert "1 training seed (0)" in texts[1]
    assert "3 seeds are few" in texts[3]
    assert "fewer than ten" in texts[7]
    assert "few" not in texts[10]


def test_every_form_shows_every_arm_and_seed(findings, tmp_path):
    page = write_report(findings.comparison, tmp_path)
    assert page == tmp_path / "report.html"
    text = (tmp_path / "report.md").read_text()
    for arm in findings.comparison.arms:
        for form in (page.read_text(), text):
            assert arm.name.replace("_", r"\_" if form is text else "_") in form
        for run in arm.runs:
            score = f"{np.mean(run.points[-1].sampled.scores):.3f}"
            seed = r"\-" if run.seed is None else run.seed
            name = arm.name.replace("_", r"\_")
            assert re.search(rf"\| {re.escape(name)} \| {re.escape(str(seed))} \| {score}", text)
    named = re.findall(r"\]\((\w+\.png)\)", text)
    assert len(named) == len(set(named)) == 9
    for name in named:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG\r\n")


def test_the_same_results_give_the_same_bytes(findings):
    again = Findings(made_up())
    assert html_of(again) == html_of(findings)
    charts = [chart for chart in all_charts(findings) if chart.group == "thresholds"]
    assert picture_of(charts) == picture_of(charts)


def test_names_are_shown_and_not_obeyed():
    hostile = f"{HOSTILE} $e$ |x| `y` [f](g)\n# d"
    text = markdown(Findings(made_up(scenario=hostile)), {"capture": "capture.png"})
    assert not re.search(r"(?<!\\)<(?!/?[a-z]+\\)", text.split("## Settings")[0])
    assert not any(line.startswith("# d") for line in text.splitlines())
    fence = text.split("## Settings")[1]
    assert fence.count("```") == 2
    page = html_of(Findings(made_up(scenario=hostile, residents=(hostile, "bo"))))
    assert "<img" not in page
    assert page.count("</script>") == 3
    for chart in all_charts(Findings(made_up(scenario=hostile))):
        assert picture_of([chart]).startswith(b"\x89PNG")
        assert "<" not in str(figure_of(chart)).replace("<br>", "").replace("<extra></extra>", "")


def test_the_policy_names_the_two_scripts_and_nothing_else(findings):
    page = html_of(findings)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page).group(1)
    policy = policy.replace("&#39;", "'")
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = {base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts}
    assert len(scripts) == 2
    assert allowed == digests
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert "connect-src" not in directives  # so default-src holds
    assert "unsafe" not in directives["script-src"]
    assert directives["img-src"] == "data: blob:"


def test_tables_fit_a_terminal(findings):
    import io

    from rich.console import Console

    console = Console(width=80, record=True, file=io.StringIO())
    console.print(summary_table(findings.comparison))
    console.print(stages_table(Findings(made_up(arms=("capture_sb3",))).comparison))
    shown = console.export_text()
    assert all(arm.name in shown for arm in findings.comparison.arms)
    assert "refused" in shown
    assert "cloned" in shown


def test_an_extra_that_is_missing_is_one_sentence(findings, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(TrainingError, match=r"needs plotly: .*townlet\[report\]"):
        html_of(findings)
