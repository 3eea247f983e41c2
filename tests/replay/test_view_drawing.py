"""What is drawn on the canvases of the page is what the recording holds."""

from __future__ import annotations

from collections import Counter

import pytest
from browser import looking_at
from town_captures import script_capture

from townlet_replay.view.facts import facts_of
from townlet_replay.view.page import write_page

# Notes every stroke, text and bar that is drawn when the page goes to a tick.
DRAWN = """async ([tick, who]) => {
  const found = { lines: [], texts: [], bars: [] }, pen = CanvasRenderingContext2D.prototype;
  const { stroke, fillText, fillRect } = pen;
  pen.stroke = function () {
    if (this.canvas.id === "stage") {
      found.lines.push([this.strokeStyle, this.globalAlpha, this.getLineDash().length]);
    }
    return stroke.call(this);
  };
  pen.fillText = function (text, ...rest) {
    if (this.canvas.id === "stage") found.texts.push(text);
    return fillText.call(this, text, ...rest);
  };
  pen.fillRect = function (...box) {
    if (this.canvas.id === "rewards" && this.globalAlpha === 0.75) found.bars.push(this.fillStyle);
    return fillRect.call(this, ...box);
  };
  townlet.follow(who);
  townlet.goto(tick);
  await new Promise((done) => setTimeout(done, 150));
  Object.assign(pen, { stroke, fillText, fillRect });
  return found;
}"""
MARKS = """() => {
  const marks = document.getElementById("marks"), pen = marks.getContext("2d");
  const row = pen.getImageData(0, 3, marks.width, 1).data;
  return [marks.width, [...Array(marks.width).keys()].filter((x) => row[4 * x + 3] > 100)];
}"""
TRUST, RIVALRY = "#2e8b57", "#c0392b"


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """A page of a quarrel in a queue, and what is on it."""
    folder = tmp_path_factory.mktemp("town")
    script_capture("queue_conflict", folder / "rows")
    facts = facts_of(folder / "rows")
    return write_page(facts, folder / "watch.html"), facts


def test_lines_of_the_map_are_ties_and_queues(browser, town):
    facts, waited = town[1], 0
    with looking_at(browser, town[0]) as page:
        page.locator("#clock", has_text="tick 0").wait_for()
        for tick in range(5, 120, 15):
            seen = page.evaluate(DRAWN, [tick, 0])
            for kind, shade in (("trust", TRUST), ("rivalry", RIVALRY)):
                strength = facts["ties"][kind]["strength"][:, tick]
                expected = sorted(0.25 + 0.6 * strength[strength > 0] / 255)
                alphas = sorted(line[1] for line in seen["lines"] if line[0] == shade)
                assert alphas == pytest.approx(expected, abs=0.01), (kind, tick)
            lines = [int(agent["line"][tick]) for agent in facts["agents"]]
            queues = Counter(line for line in lines if line >= 0)
            waited += len(queues)
            assert sum(line[2] > 0 for line in seen["lines"]) == sum(queues.values())
            counts = sorted(text for text in seen["texts"] if text.isdigit())
            assert counts == sorted(map(str, queues.values()))
    assert waited


def test_bars_have_a_colour_for_every_component(browser, town):
    facts = town[1]
    with looking_at(browser, town[0]) as page:
        page.locator("#clock", has_text="tick 0").wait_for()
        seen = page.evaluate(DRAWN, [120, 1])
        parts = facts["agents"][1]["parts"][1:121]
        assert len(set(seen["bars"])) == int((parts != 0).any(axis=0).sum())


def test_marks_stand_where_events_were(browser, town):
    facts = town[1]
    events = facts["events"]
    ticks = events["tick"][events["kind"] == events["kinds"].index("queue_conflict")]
    with looking_at(browser, town[0]) as page:
        page.locator("#clock", has_text="tick 0").wait_for()
        width, columns = page.evaluate(MARKS)
    expected = {int(tick / (facts["ticks"] - 1) * width) for tick in ticks.tolist()} - {width}
    assert expected <= set(columns)
    assert set(columns) <= expected | {x + 1 for x in expected}
