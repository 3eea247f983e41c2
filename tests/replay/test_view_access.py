"""The page to watch a recording, for those who use keys, hear it, or print it."""

from __future__ import annotations

import json

import pytest
from browser import DESK, looking_at, overflow, until
from capture_toys import life
from town_captures import network_capture, script_capture, tiny_checkpoint

from townlet_env.config.load import load_scenario
from townlet_replay.capture import CaptureSettings, capture_scenario
from townlet_replay.view.facts import facts_of
from townlet_replay.view.page import write_page
from townlet_replay.writer import CaptureWriter

# The lowest contrast of texts with what is behind them, as WCAG 2 counts it.
CONTRAST = """() => {
  const pen = document.createElement("canvas").getContext("2d");
  const rgba = (name) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = name;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data].map((v) => v / 255);
  };
  const light = (colour) => colour.slice(0, 3).map((v) =>
    v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const behind = (node) => {
    if (!node) return [1, 1, 1];
    const [r, g, b, a] = rgba(getComputedStyle(node).backgroundColor);
    const below = a === 1 ? [0, 0, 0] : behind(node.parentElement);
    return [r, g, b].map((v, k) => v * a + below[k] * (1 - a));
  };
  let least = [99, ""];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !node.checkVisibility()) continue;
    const pair = [light(rgba(getComputedStyle(node).color)), light(behind(node))];
    const found = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (found < least[0]) least = [found, walk.currentNode.data];
  }
  return least;
}"""
FOCUS = "document.activeElement.id || document.activeElement.className"


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """A page of a quarrel in a queue, and what is on it."""
    folder = tmp_path_factory.mktemp("town")
    path = tiny_checkpoint(folder / "net.json")
    network_capture("queue_conflict", folder / "rows", path, logits=True)
    facts = facts_of(folder / "rows")
    return write_page(facts, folder / "watch.html"), facts


def shows(page, text, where):
    page.locator(where).filter(has_text=text).wait_for(state="attached")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read(browser, tmp_path, scheme):
    script_capture("newcomer_arrival", tmp_path / "rows")
    page_file = write_page(facts_of(tmp_path / "rows"), tmp_path / "watch.html")
    with looking_at(browser, page_file, color_scheme=scheme) as page:
        shows(page, "not in town", "#people")
        assert page.evaluate(CONTRAST)[0] >= 4.5, page.evaluate(CONTRAST)
        page.locator("#ask").click()
        assert page.evaluate(CONTRAST)[0] >= 4.5, page.evaluate(CONTRAST)


def test_the_moment_is_told_to_those_who_hear_the_page(browser, town):
    facts = town[1]
    with looking_at(browser, f"{town[0]}#tick=60&follow=cleo") as page:
        line = page.locator("#line")
        shows(page, "tick 60 of 120, 07:40.", "#said")
        shows(page, "cleo: reward", "#said")
        assert line.get_attribute("aria-valuetext") == "tick 60 of 120, 07:40"
        assert line.get_attribute("aria-valuenow") == "60"
        assert line.get_attribute("aria-valuemin") == "0"
        assert line.get_attribute("aria-valuemax") == "120"
        events = facts["events"]
        conflict = events["tick"][events["kind"] == events["kinds"].index("queue_conflict")]
        page.evaluate(f"townlet.goto({int(conflict[0])})")
        shows(page, "queue conflict", "#said")
        page.keyboard.press(" ")
        until(page, "townlet.state.tick > 40")
        assert "queue conflict" in page.locator("#said").text_content(), "quiet while it plays"
        page.keyboard.press(" ")
        told = "document.getElementById('said').textContent"
        until(page, told + ".startsWith(`tick ${townlet.state.tick} of`)")


def test_the_tab_key_reaches_everything(browser, town):
    with looking_at(browser, town[0]) as page:
        shows(page, "tick 0", "#clock")
        reached = []
        for _ in range(14):
            page.keyboard.press("Tab")
            reached.append(page.evaluate(FOCUS))
        assert [name for name in reached if name in ("person", "chip")] == ["person"] * 3 + [
            "chip"
        ] * 3
        order = ["line", "play", "back", "on", "prev", "next", "speed", "ask"]
        assert [name for name in reached if name in order] == order
        names = page.evaluate(
            "[...document.querySelectorAll('button')].map((b) => b.ariaLabel || b.textContent)"
        )
        assert all(name.strip() for name in names)


def test_the_slider_has_the_keys_of_a_slider(browser, town):
    with looking_at(browser, town[0]) as page:
        shows(page, "tick 0", "#clock")
        page.locator("#line").focus()
        for key, tick in (("PageUp", 10), ("ArrowUp", 11), ("ArrowDown", 10), ("PageDown", 0)):
            page.keyboard.press(key)
            assert page.evaluate("townlet.state.tick") == tick
        page.locator("#ask").focus()
        page.keyboard.press("PageDown")
        assert page.evaluate("townlet.state.tick") == 0, "the page scrolls with it elsewhere"


def test_a_question_mark_shows_the_keys(browser, town):
    with looking_at(browser, town[0]) as page:
        shows(page, "tick 0", "#clock")
        page.keyboard.press("?")
        assert page.get_by_role("dialog", name="Keys").is_visible()
        page.keyboard.press("n")
        assert page.evaluate("townlet.state.tick") == 0, "the dialog has the keys"
        page.keyboard.press("Escape")
        assert page.locator("#help").is_hidden()
        page.locator("#ask").click()
        page.get_by_role("button", name="close").click()
        assert page.locator("#help").is_hidden()
        page.keyboard.press("?")
        page.keyboard.press("?")
        assert page.locator("#help").is_hidden()
        page.keyboard.press("ArrowRight")
        assert page.evaluate("townlet.state.tick") == 1


def test_who_wants_little_motion_begins_slowly(browser, town):
    with looking_at(browser, town[0], reduced_motion="reduce") as page:
        shows(page, "tick 0", "#clock")
        assert page.evaluate("townlet.state.speed") == 2
        assert page.locator("#speed").input_value() == "2"


def test_it_is_printed_with_dark_ink(browser, town):
    ink = "getComputedStyle(document.body).color"
    with looking_at(browser, f"{town[0]}#tick=9", color_scheme="dark") as page:
        shows(page, "tick 9", "#clock")
        dark = page.evaluate(ink)
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert page.evaluate(ink) == "rgb(29, 39, 51)"
        corner = (
            "[...document.getElementById('ground').getContext('2d').getImageData(2, 2, 1, 1).data]"
        )
        assert page.evaluate(corner) == [216, 222, 228, 255], "a wall, in the colours of paper"
        page.emulate_media(media="print")
        assert page.locator("#clock").is_visible()
        assert page.locator("#play").is_hidden()
        page.emulate_media(media="screen")
        page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert page.evaluate(ink) == dark


def test_the_legend_tells_things_apart(browser, tmp_path):
    script_capture("town_day", tmp_path / "rows")
    facts = facts_of(tmp_path / "rows")
    page_file = write_page(facts, tmp_path / "watch.html")
    with looking_at(browser, page_file) as page:
        shows(page, "rivalry", "#legend")
        signs = [text.split()[0] for text in page.locator("#legend .chip").all_inner_texts()]
        assert len(signs) == len({o["kind"] for o in facts["map"]["objects"]})
        assert len(set(signs)) == len(signs)
        assert max(map(len, signs)) == 2, "more does not fit into a cell"


def test_a_click_on_the_map_follows_who_is_there(browser, town):
    with looking_at(browser, f"{town[0]}#tick=60") as page:
        shows(page, "tick 60", "#clock")
        box, ground = page.locator("#stage").bounding_box(), town[1]["map"]
        track = next(agent for agent in town[1]["agents"] if agent["name"] == "cleo")
        size = box["width"] / ground["width"]
        x = box["x"] + (int(track["x"][60]) + 0.5) * size
        y = box["y"] + (int(track["y"][60]) + 0.5) * size
        page.mouse.move(x, y)
        assert "cleo" in page.locator("#stage").get_attribute("title")
        page.mouse.click(x, y)
        shows(page, "cleo:", "#detail-title")


def test_a_tall_town_fits_into_the_window(browser, tmp_path):
    rows = ["#" * 7, "#B....#", *["#.....#"] * 50, "#a...F#", "#" * 7]
    story = {
        "name": "tower",
        "description": "A bed far above a fridge.",
        "ticks": 20,
        "map": "\n".join(rows),
        "legend": {"B": "bed", "F": "fridge", "a": "ada"},
        "objects": [{"id": "bed", "kind": "bed"}, {"id": "fridge", "kind": "fridge"}],
        "residents": [{"id": "ada", "policy": "needs_driven"}],
    }
    (tmp_path / "tower.yaml").write_text(json.dumps(story), encoding="utf-8")
    scenario = load_scenario(tmp_path / "tower.yaml")
    capture_scenario(scenario, tmp_path / "rows", CaptureSettings())
    facts = facts_of(tmp_path / "rows", config=scenario)
    with looking_at(browser, write_page(facts, tmp_path / "watch.html")) as page:
        shows(page, "tick 0", "#clock")
        box = page.locator("#stage").bounding_box()
        assert box["height"] <= DESK["height"]
        assert box["height"] > 5 * box["width"]
        assert overflow(page) <= 0


def test_a_page_does_not_tell_where_the_capture_was(tmp_path):
    with CaptureWriter(tmp_path) as writer:
        writer.write_episode([life("anna", rows=3)])
    assert str(tmp_path) not in facts_of(tmp_path)["note"]
