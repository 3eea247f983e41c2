"""The page to watch a recording, used as somebody uses it, in Chromium."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from browser import DESK, PHONE, looking_at, overflow, saved, until
from capture_toys import life
from mpe2 import simple_spread_v3
from town_captures import network_capture, tiny_checkpoint

from townlet_replay import RecordReplay
from townlet_replay.view.facts import facts_of
from townlet_replay.view.page import html_of, write_page
from townlet_replay.view.serving import page_route, server_of
from townlet_replay.writer import CaptureWriter

EVIL = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """A page of a quarrel in a queue that a network lived, and what is on it."""
    folder = tmp_path_factory.mktemp("town")
    path = tiny_checkpoint(folder / "net.json")
    network_capture("queue_conflict", folder / "rows", path, logits=True)
    facts = facts_of(folder / "rows")
    return write_page(facts, folder / "watch.html"), facts


@pytest.fixture(scope="module")
def spread(tmp_path_factory):
    """A page of MPE2's simple_spread."""
    folder = tmp_path_factory.mktemp("spread")
    rng = np.random.default_rng(0)
    env = simple_spread_v3.parallel_env(max_cycles=25)
    with RecordReplay(env, folder / "rows") as recorder:
        recorder.reset(seed=1)
        while recorder.agents:
            recorder.annotate(log_probs=dict.fromkeys(recorder.agents, -math.log(5)))
            recorder.step({agent: int(rng.integers(5)) for agent in recorder.agents})
    return write_page(facts_of(folder / "rows"), folder / "watch.html")


def tick_of(page):
    return page.evaluate("townlet.state.tick")


def shows(page, text, where="#clock"):
    """Wait for a text; the page writes texts a few times a second."""
    page.locator(where).filter(has_text=text).wait_for()


def inks(page, canvas):
    """How many different pixels a canvas has."""
    return page.evaluate(
        """(id) => { const c = document.getElementById(id), d = c.getContext("2d")
           .getImageData(0, 0, c.width, c.height).data; const seen = new Set();
           for (let k = 0; k < d.length; k += 4) seen.add(d[k] + 256 * d[k+1] + 65536 * d[k+2]);
           return seen.size; }""",
        canvas,
    )


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_everything_is_drawn_at_any_width(browser, town, size):
    with looking_at(browser, town[0], size) as page:
        shows(page, "tick 0 of 120")
        assert overflow(page) <= 0
        for canvas in ("ground", "stage", "rewards", "marks"):
            assert inks(page, canvas) > 3, canvas
        assert page.locator("#stage").bounding_box()["width"] > 300
        assert page.locator(".person").count() == 3
        assert page.locator("#components .chip").count() == len(town[1]["components"])


def test_scrubbing_moves_through_the_episode(browser, town):
    with looking_at(browser, town[0]) as page:
        shows(page, "tick 0")
        box = page.locator("#line").bounding_box()
        middle = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + 10, middle)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2, middle, steps=5)
        shows(page, "tick 60 of 120")
        page.mouse.move(box["x"] + box["width"] + 50, middle, steps=3)
        page.mouse.up()
        shows(page, "tick 120 of 120")
        page.mouse.move(box["x"] + 10, middle)
        assert tick_of(page) == 120


def test_it_plays_at_the_speed_asked_for_and_stops(browser, town):
    with looking_at(browser, town[0]) as page:
        page.locator("#speed").select_option("30")
        page.locator("#play").click()
        until(page, "townlet.state.tick >= 10")
        page.locator("#play").click()
        stopped = tick_of(page)
        shows(page, f"tick {stopped} of 120")
        assert not page.evaluate("townlet.state.playing")
        before = page.evaluate("townlet.state.frames")
        page.wait_for_timeout(300)
        assert tick_of(page) == stopped
        assert page.evaluate("townlet.state.frames") <= before + 1, "draws although nothing moves"
        page.keyboard.press("5")
        page.keyboard.press(" ")
        until(page, "townlet.state.tick === 120 && !townlet.state.playing")


def test_people_are_followed(browser, town):
    facts = town[1]
    with looking_at(browser, town[0]) as page:
        page.locator(".person", has_text="cleo").click()
        shows(page, "cleo: return so far 0", "#rewards-title")
        page.evaluate("townlet.goto(17)")
        k = [agent["name"] for agent in facts["agents"]].index("cleo")
        known = facts["known"][k]
        row = known["looks"].tolist().index(17)
        chosen = facts["actions"][int(known["action"][row, 0])]
        shows(page, f"chooses {chosen}".replace("_", " "), "#detail")
        shows(page, f"probability of it {math.exp(known['log_probs'][row]):.3f}", "#detail")
        shows(page, "value ", "#detail")
        bars = page.locator("#detail div:not([hidden]):not(.long)")
        assert bars.count() == int((known["probs"][row] > 0).sum())
        page.keyboard.press("f")
        shows(page, "anna:", "#detail-title")


def test_conflicts_are_jumped_to(browser, town):
    events = town[1]["events"]
    conflict = events["kinds"].index("queue_conflict")
    ticks = sorted(set(events["tick"][events["kind"] == conflict].tolist()))
    with looking_at(browser, town[0]) as page:
        shows(page, "conflict", "#next")
        page.locator("#next").click()
        shows(page, f"tick {ticks[0]} of")
        shows(page, "queue conflict", "#news")
        page.keyboard.press("n")
        shows(page, f"tick {ticks[1]} of")
        page.keyboard.press("p")
        shows(page, f"tick {ticks[0]} of")
        page.locator("#prev").click()
        assert tick_of(page) == ticks[0]
        page.locator("#groups .chip", has_text="chat").click()
        page.keyboard.press("n")
        page.wait_for_timeout(50)
        chats = events["tick"][events["kind"] == events["kinds"].index("chat")]
        assert tick_of(page) == min(chats[chats > ticks[0]])


def test_keys_move_and_zoom(browser, town):
    with looking_at(browser, town[0]) as page:
        shows(page, "tick 0")
        for key, tick in (
            ("End", 120),
            ("ArrowLeft", 119),
            ("Shift+ArrowLeft", 109),
            ("ArrowRight", 110),
            ("Home", 0),
            ("Shift+ArrowRight", 10),
        ):
            page.keyboard.press(key)
            shows(page, f"tick {tick} of")
        page.keyboard.press("+")
        page.keyboard.press("+")
        assert page.evaluate("townlet.range.to - townlet.range.from") == 30
        page.keyboard.press("End")
        shows(page, "tick 120")
        assert page.evaluate("townlet.range.to") == 120, "the timeline follows its head"
        page.keyboard.press("-")
        page.keyboard.press("-")
        page.keyboard.press("-")
        assert page.evaluate("townlet.range.to - townlet.range.from") == 120
        page.keyboard.press("2")
        assert page.evaluate("townlet.state.speed") == 8
        page.locator("#speed").focus()
        page.keyboard.press("Home")
        assert tick_of(page) == 120, "a list keeps its own keys"


def test_a_link_leads_to_a_moment(browser, town):
    with looking_at(browser, f"{town[0]}#tick=42&follow=ben") as page:
        shows(page, "tick 42 of")
        shows(page, "ben:", "#detail-title")
        page.keyboard.press("ArrowRight")
        until(page, "location.hash === '#tick=43&follow=ben'")
        page.evaluate("location.hash = '#tick=43&follow=cleo'")
        shows(page, "cleo:", "#detail-title")
        page.evaluate("location.hash = '#tick=1e9&follow=nobody'")
        until(page, "townlet.state.tick === 1")
        page.evaluate("location.hash = '#tick=99999'")
        shows(page, "tick 120 of")


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_other_environments_show_returns_and_observations(browser, spread, size):
    with looking_at(browser, f"{spread}#tick=5", size) as page:
        shows(page, "tick 5 of 25")
        assert overflow(page) <= 0
        for canvas in ("ground", "stage", "rewards", "seen"):
            assert inks(page, canvas) > 1, canvas
        shows(page, "18 numbers", "#seen-title")
        shows(page, "probability of it 0.200", "#detail")
        shows(page, "observes", "#detail")
        assert page.locator("#next").is_hidden()
        page.locator(".person", has_text="agent_2").click()
        shows(page, "agent_2", "#seen-title")


def test_names_of_strangers_stay_text(browser, tmp_path):
    with CaptureWriter(tmp_path / "rows") as writer:
        writer.write_episode([life(EVIL, rows=4), life("__proto__", rows=3), life("1", rows=4)])
    facts = facts_of(tmp_path / "rows")
    for key in ("title", "subtitle", "note"):
        facts[key] = EVIL
    facts["components"] = [EVIL]
    with looking_at(browser, saved(tmp_path / "watch.html", html_of(facts))) as page:
        shows(page, "tick 0")
        names = page.locator(".person .name").all_inner_texts()
        assert names == [EVIL, "__proto__", "1"]
        assert page.locator("h1").inner_text().startswith(EVIL)
        assert EVIL in page.title()
        assert page.locator("img").count() == 0
        page.locator(".person", has_text="__proto__").click()
        shows(page, "__proto__:", "#detail-title")


@pytest.mark.parametrize(
    "attempt",
    [
        "document.body.innerHTML = '<b>x</b>'",
        "document.createElement('script').text = 'x'",
        "document.body.setAttribute('onclick', 'x')",
        "document.createElement('iframe').srcdoc = 'x'",
    ],
)
def test_nothing_in_the_page_can_become_a_program(browser, town, attempt):
    with looking_at(browser, town[0], strict=False) as page:
        shows(page, "tick 0")
        said = page.evaluate(f"() => {{ try {{ {attempt}; }} catch (e) {{ return e.name; }} }}")
        assert said == "TypeError"


def test_nothing_is_fetched(browser, town):
    context = browser.new_context()
    page, fetched = context.new_page(), []
    page.goto(f"file://{town[0]}")
    page.on("requestfinished", lambda asked: fetched.append(asked.url))
    with server_of({"/": page_route("<p>here</p>")}) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        refused = page.evaluate(
            """async (url) => {
              const refused = [];
              document.addEventListener("securitypolicyviolation",
                (event) => refused.push(event.effectiveDirective));
              const image = new Image();
              image.src = url;
              document.body.append(image);
              await fetch(url).catch(() => null);
              await new Promise((done) => setTimeout(done, 200));
              return refused.sort();
            }""",
            f"http://127.0.0.1:{server.server_address[1]}/",
        )
        server.shutdown()
    context.close()
    assert refused == ["connect-src", "img-src"]
    assert fetched == []


def test_the_server_shows_the_same_page(browser, town):
    with server_of({"/": page_route(html_of(town[1]))}) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with looking_at(browser, f"http://127.0.0.1:{server.server_address[1]}/#tick=7") as page:
            shows(page, "tick 7 of 120")
        server.shutdown()
