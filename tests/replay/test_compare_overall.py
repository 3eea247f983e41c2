"""What holds over several scenarios: pooled alike for all arms, and told where it is not."""

from __future__ import annotations

import json
import re
from itertools import product

import numpy as np
import pytest
from comparisons import HOSTILE, made_up

from townlet_replay.compare import overall_wording as words
from townlet_replay.compare.overall import Overall, Place
from townlet_replay.compare.overall_charts import overall_charts
from townlet_replay.compare.overall_page import html_of, link_to
from townlet_replay.compare.overall_report import (
    OverallResults,
    overall_table,
    results_of,
    write_overall,
)
from townlet_replay.compare.overall_text import markdown
from townlet_replay.compare.pictures import picture_of
from townlet_replay.compare.plotly_charts import figure_of

NAMES = ("green", "blue", "red")
ARMS = ("live_native", "live_sb3", "bc")


def place(name, **changes):
    return Place(name, made_up(scenario=name, **changes))


def without(found, *arms, **why):
    """A comparison in which some arms have no runs."""
    kept = [
        arm.model_copy(update={"runs": (), "refused": why.get("refused")})
        if arm.name in arms
        else arm
        for arm in found.arms
    ]
    return found.model_copy(update={"arms": tuple(kept)})


def with_scale(found, script):
    """A comparison in which the script scores so much."""
    (run,) = found.arm("script").runs
    play = run.points[0].sampled.model_copy(update={"scores": (script, script)})
    point = run.points[0].model_copy(update={"sampled": play})
    runs = (run.model_copy(update={"points": (point,)}),)
    arms = [
        arm.model_copy(update={"runs": runs}) if arm.name == "script" else arm for arm in found.arms
    ]
    return found.model_copy(update={"arms": tuple(arms)})


@pytest.fixture(scope="module")
def three():
    """The script of `blue` scores twice as much, that of `red` four times."""
    return Overall(
        [
            Place(name, with_scale(made_up(scenario=name), script))
            for name, script in zip(NAMES, (1.0, 2.0, 4.0), strict=True)
        ]
    )


def line_of(overall, arm):
    return next(line for line in overall.lines() if line.arm == arm)


def test_scores_are_normalised_in_their_own_scenario_and_pooled(three):
    assert (three.arms, three.counted, three.runs) == (ARMS, NAMES, 3)
    # Final policies of live_native return 1.2 + 0.1 k, plus half a hundredth, as random does.
    returns = 1.2 + 0.1 * np.arange(3.0)
    scale = [script - 0.005 for script in (1.0, 2.0, 4.0)]
    expected = np.stack([returns / gap for gap in scale], axis=1)
    np.testing.assert_allclose(three.scores("live_native", greedy=False), expected, rtol=1e-9)
    pooled = sorted(expected.ravel())
    line = line_of(three, "live_native")
    assert line.sampled.value == pytest.approx(np.mean(pooled[2:7]))
    assert line.sampled.low < line.sampled.value < line.sampled.high
    assert line.mean == pytest.approx(np.mean(pooled))
    assert line.median == pytest.approx(np.median(expected.mean(axis=0)))
    assert line.gap == pytest.approx(np.mean([max(0.0, 1.0 - score) for score in pooled]))
    assert line.gap > 0.1
    assert (line.budget.live, line.budget.total) == (200, 200)
    assert line.greedy.value > line.sampled.value


def test_improvement_is_asked_in_each_scenario_and_averaged(three):
    assert three.baseline == "live_native"
    assert line_of(three, "live_native").improvement is None
    mine, theirs = (three.scores(arm, greedy=False) for arm in ("bc", "live_native"))
    wins = [
        np.mean(
            [
                1.0 if a > b + 1e-9 else 0.5 if abs(a - b) < 1e-9 else 0.0
                for a, b in product(mine[:, k], theirs[:, k])
            ]
        )
        for k in range(3)
    ]
    assert line_of(three, "bc").improvement.value == pytest.approx(np.mean(wins), abs=0.06)
    sheet = words.improvement_sheet(three)
    assert sheet.head == ("arm", *NAMES)
    assert [row[0] for row in sheet.rows] == ["live_sb3", "bc"]


def test_a_profile_counts_scenarios_and_seeds(three):
    profile = three.profiles()["live_native"]
    scores = three.scores("live_native", greedy=False)
    at = int(np.searchsorted(profile.thresholds, 0.5))
    assert profile.shares[at] == pytest.approx((scores > profile.thresholds[at]).mean())
    assert (profile.shares[0], profile.shares[-1]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (lambda f: with_scale(f, -1.0), "the script scores no more than random"),
        (lambda f: with_scale(f, 0.005), "the script scores no more than random"),
        (lambda f: without(f, "bc", refused="no choice in it"), "bc: refused: no choice"),
        (lambda f: without(f, "bc", "live_sb3"), "live_sb3: no finished run; bc: no"),
        (lambda f: without(f, "script", refused="nobody"), "script: refused: nobody"),
    ],
)
def test_a_scenario_that_cannot_count_counts_for_no_arm(three, changed, why):
    broken = three.places[1]._replace(comparison=changed(three.places[1].comparison))
    found = Overall([three.places[0], broken, three.places[2]])
    assert found.counted == ("green", "red")
    assert found.left_out["blue"].startswith(why)
    assert found.arms == ARMS
    for arm in ARMS:
        both = found.scores(arm, greedy=False)
        np.testing.assert_array_equal(both, three.scores(arm, greedy=False)[:, [0, 2]])
    for form in (markdown(found, {}), html_of(found, overall_charts(found))):
        text = re.sub(r"\\(.)", r"\1", form)
        assert f"blue is left out: {why}" in text
        assert "Over 2 scenarios (green, red)" in text
    assert results_of(found).scenarios[1].left_out == found.left_out["blue"]


def test_an_arm_that_no_scenario_has_is_told_and_costs_no_scenario():
    places = [
        Place(name, without(made_up(scenario=name), "bc", refused="no clone")) for name in NAMES
    ]
    found = Overall(places)
    assert found.arms == ("live_native", "live_sb3")
    assert found.counted == NAMES
    assert found.absent["bc"] == "refused: no clone (green, blue, red)"
    assert found.absent["bc_then_live"] == "no finished run (green, blue, red)"
    assert any(text.startswith("bc is not shown: ") for text in words.troubles(found))


def test_as_many_seeds_count_in_every_scenario_whatever_they_are_called(three):
    fewer = made_up(scenario="blue", seeds=2)
    later = made_up(scenario="red")
    arms = tuple(
        arm.model_copy(
            update={
                "runs": tuple(
                    run.model_copy(update={"seed": None if run.seed is None else run.seed + 10})
                    for run in arm.runs
                )
            }
        )
        for arm in later.arms
    )
    later = later.model_copy(update={"arms": arms})
    found = Overall([three.places[0], Place("blue", fewer), Place("red", later)])
    assert found.runs == 2
    assert found.seeds == {"green": [0, 1], "blue": [0, 1], "red": [10, 11]}
    assert found.scores("bc", greedy=False).shape == (2, 3)


def test_what_has_not_begun_or_went_wrong_is_incomplete(three):
    found = Overall([three.places[0], Place("blue", None), Place("red", None, "it burnt")])
    assert not found.complete
    assert found.left_out == {"blue": "it has not begun", "red": "it burnt"}
    assert words.INCOMPLETE in html_of(found, overall_charts(found))
    assert words.INCOMPLETE in markdown(found, {})
    assert three.complete


@pytest.mark.parametrize("arms", [(), ("live_native",)])
def test_where_nothing_can_be_said_the_reports_say_so(arms, tmp_path):
    places = [Place(n, with_scale(made_up(scenario=n, arms=arms), -1.0)) for n in NAMES]
    found = Overall(places)
    assert found.lines() == []
    assert found.profiles() == {}
    assert "nothing is said over scenarios" in words.counted_in_words(found)
    assert write_overall(found, tmp_path).is_file()
    one_each = Overall(
        [
            Place("green", without(made_up(scenario="green"), "bc")),
            Place("blue", without(made_up(scenario="blue"), "live_native", "live_sb3")),
        ]
    )
    assert one_each.counted == ()
    assert one_each.lines() == []
    assert words.scenario_sheet(one_each).head == ("arm", "green *", "blue *")
    assert write_overall(one_each, tmp_path).is_file()


def test_one_seed_has_no_interval():
    found = Overall([place(name, seeds=1) for name in NAMES])
    line = line_of(found, "bc")
    assert (line.sampled.low, line.improvement.low) == (None, None)
    assert "Of one seed there is no interval" in words.counted_in_words(found)


def test_every_form_says_the_same_and_the_same_results_give_the_same_bytes(three, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    write_overall(three, one)
    write_overall(Overall(three.places), other)
    files = sorted(path.name for path in one.iterdir())
    assert files == [
        "overall.json",
        "overall.png",
        "profile.png",
        "report.html",
        "report.md",
        "scenarios.png",
    ]
    for name in files:
        assert (one / name).read_bytes() == (other / name).read_bytes()
    text = re.sub(r"\\(.)", r"\1", (one / "report.md").read_text())
    page = (one / "report.html").read_text()
    for sheet in (words.overall_sheet(three), words.scenario_sheet(three)):
        for row in sheet.rows:
            assert f"| {' | '.join(row)} |" in text
            assert all(f"<td>{cell}</td>" in page for cell in row)
    stored = OverallResults.model_validate_json((one / "overall.json").read_text())
    assert stored == results_of(three)
    assert stored.arms[0].iqm.value == line_of(three, "live_native").sampled.value
    assert [scenario.parity[1].equal for scenario in stored.scenarios] == [3, 3, 3]
    for form, file in ((text, "report.md"), (page, "report.html")):
        for name in NAMES:
            assert f"./{name}/{file}" in form
            assert f"{name}: native learner: bitwise through update 6" in form
    assert "7.0" not in json.dumps(stored.model_dump(mode="json"))  # seconds are no result


def test_names_are_shown_and_not_obeyed():
    hostile = f"{HOSTILE} $e$ |x| `y` [f](javascript:g)\n# d"
    found = Overall([place(hostile), place("javascript:alert(1)"), place("../..")])
    text = markdown(found, {})
    assert not re.search(r"(?<!\\)<", text)
    assert not any(line.startswith("# d") for line in text.splitlines())
    charts = overall_charts(found)
    page = html_of(found, charts)
    assert "<img" not in page
    assert page.count("</script>") == 3
    shown = page.split('<script type="application/json"')[0]
    links = re.findall(r'href="([^"]*)"', shown) + re.findall(r"(?<!\\)\]\(([^)]*)\)", text)
    ours = [link for link in links if not link.startswith("#")]
    assert len(ours) == 6
    assert all(re.fullmatch(r"\./[\w.%~-]+/report\.(html|md)", link) for link in ours), ours
    for chart in charts:
        assert picture_of([chart]).startswith(b"\x89PNG")
        assert "<" not in str(figure_of(chart)).replace("<br>", "").replace("<extra></extra>", "")


def test_a_link_leads_into_the_folder_beside():
    assert link_to("queue_conflict", "report.html") == "./queue_conflict/report.html"
    assert link_to("a/b", "report.md") == "./a%2Fb/report.md"


def test_the_table_fits_a_terminal(three):
    import io

    from rich.console import Console

    console = Console(width=80, record=True, file=io.StringIO())
    console.print(overall_table(three))
    shown = console.export_text()
    assert all(arm in shown for arm in ARMS)
    assert "…" not in shown
