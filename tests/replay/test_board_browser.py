"""The page of training logs, used as somebody uses it, in Chromium."""

from __future__ import annotations

import threading

import pytest
from browser import DESK, PHONE, looking_at, overflow, until
from epoch_logs import epoch

from townlet_replay.training.telemetry import TelemetryWriter
from townlet_replay.training.telemetry_schema import AgentFigures
from townlet_replay.training.telemetry_watch import DEFAULT_LIMITS
from townlet_replay.view.board import Board, write_board
from townlet_replay.view.serving import server_of

EVIL = "</script><img src=x onerror=alert(1)>"


def record(number, **figures):
    """An epoch with figures in many charts."""
    figures = {
        "kl_divergence": 0.3 if number == 7 else 0.01 * number,
        "clip_fraction": 0.1,
        "explained_variance": 0.5,
        "queue_conflict_events": number,
        "agents": {
            name: AgentFigures(rows=9, segments=1, reward_sum=number * k, entropy=1.0, ess=0.5)
            for k, name in enumerate(("ana", "ben"))
        },
    } | figures
    return epoch(number, **figures)


def wrote(path, first, end, **settings):
    with TelemetryWriter(path, **settings) as writer:
        for number in range(first, end):
            writer.write(record(number))
    return path


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("board")
    logs = [wrote(folder / "a.jsonl", 1, 21), wrote(folder / "b.jsonl", 1, 11)]
    return write_board(Board(logs, DEFAULT_LIMITS), folder / "board.html")


@pytest.fixture
def served(tmp_path):
    """A log, and the address of its live page."""
    log = wrote(tmp_path / "ppo.jsonl", 1, 6)
    with server_of(Board([log], DEFAULT_LIMITS).routes(0.1)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield log, f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def ready(page):
    until(page, "window.townlet && townlet.state.drawn > 0")


def drawn(page):
    """Titles of the charts to be seen, and how many pixels of each have a colour."""
    return page.evaluate(
        """() => Object.fromEntries(townlet.charts.filter((chart) => !chart.card.hidden)
          .map(({ title, canvas }) => {
            const d = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            let inks = 0;
            for (let k = 0; k < d.length; k += 4) {
              const rgb = d.subarray(k, k + 3);
              if (d[k + 3] && Math.max(...rgb) - Math.min(...rgb) > 60) inks++;
            }
            return [title, inks];
          }))"""
    )


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_what_was_measured_is_drawn_at_any_width(browser, page_file, size):
    with looking_at(browser, page_file, size) as page:
        ready(page)
        assert overflow(page) <= 0
        inks = drawn(page)
        assert inks.keys() == {
            "KL divergence",
            "Clip fraction",
            "Explained variance",
            "Loss",
            "Queue conflicts",
            "Return by agent",
            "Entropy by agent, nats",
            "Effective sample size by agent",
        }
        assert min(inks.values()) > 50, inks
        assert page.locator("#status").inner_text() == "a.jsonl: 20 epochs, b.jsonl: 10 epochs"
        alarms = page.locator("#alarms p").all_inner_texts()
        assert [text.split(":")[0] for text in alarms if text] == [
            f"{log}, epoch {number}"
            for log, numbers in (("a.jsonl", (18, 19, 20)), ("b.jsonl", (7,)))
            for number in numbers
        ]
        row = page.locator("#newest tr", has_text="kl_divergence").first
        assert row.locator("td").all_inner_texts()[:2] == ["0.2", "0.1"]
        assert row.locator("td.beyond").count() == 1
        assert page.locator("#agents .chip").all_inner_texts() == ["ana", "ben"]


def test_a_part_is_looked_at_closer_in_all_charts(browser, page_file):
    with looking_at(browser, page_file) as page:
        ready(page)
        chart = page.locator("#charts canvas").nth(1)
        box = page.evaluate("() => townlet.charts[1].canvas.getBoundingClientRect().toJSON()")
        left, wide = box["x"] + 46, box["width"] - 52
        middle = box["y"] + 60
        page.mouse.move(left + wide * 0.25, middle)
        page.mouse.down()
        page.mouse.move(left + wide * 0.75, middle, steps=4)
        page.mouse.up()
        low, high = page.evaluate("() => townlet.state.range")
        assert low == pytest.approx(1 + 19 * 0.25, abs=0.2)
        assert high == pytest.approx(1 + 19 * 0.75, abs=0.2)
        assert not page.locator("#whole").is_disabled()
        page.keyboard.press("ArrowRight")
        assert page.evaluate("() => townlet.state.range[0]") > low
        page.keyboard.press("Escape")
        assert page.evaluate("() => townlet.state.range") is None
        page.keyboard.press("+")
        assert page.evaluate("() => townlet.state.range") == [5.75, 15.25]
        chart.dblclick()
        assert page.evaluate("() => townlet.state.range") is None
        page.locator("#axis").select_option("steps")
        page.keyboard.press("+")
        assert page.evaluate("() => townlet.state.range") == [575, 1525]


def test_values_are_told_where_the_pointer_is(browser, page_file):
    with looking_at(browser, page_file) as page:
        ready(page)
        box = page.evaluate("() => townlet.charts[1].canvas.getBoundingClientRect().toJSON()")
        at = page.evaluate("() => townlet.charts[1].now.textContent")
        assert at == "0.2 \u00b7 0.1"
        page.mouse.move(box["x"] + 46 + (box["width"] - 52) * 6 / 19, box["y"] + 50)
        until(page, "townlet.charts[1].now.textContent === '0.3 \u00b7 0.3'")
        assert page.evaluate("() => townlet.charts.filter((c) => !c.cross.hidden).length") > 5


def test_long_runs_are_drawn_as_means_and_spreads(browser, page_file):
    with looking_at(browser, page_file) as page:
        ready(page)
        means = page.evaluate(
            """() => {
              const xs = Array.from({ length: 4000 }, (_, i) => i);
              const ys = xs.map((x) => (x === 7 ? NaN : x % 2 ? 30 : 10));
              const pen = townlet.charts[1].canvas.getContext("2d");
              return drawSpread(pen, xs, ys, 0, 4000, (x) => x / 40, (y) => y);
            }"""
        )
    assert [x for x, _ in means] == [pixel + 0.5 for pixel in range(100)]
    assert means[0][1] == pytest.approx((20 * 10 + 19 * 30) / 39)
    assert [y for _, y in means[1:]] == [20] * 99


def test_logs_can_be_left_out(browser, page_file):
    with looking_at(browser, page_file) as page:
        ready(page)
        page.locator("#logs .chip", has_text="a.jsonl").click()
        until(page, "townlet.charts[1].lines.length === 1")
        assert page.evaluate("() => townlet.charts[1].lines[0].xs.length") == 10


def test_what_training_writes_arrives_without_loading_again(browser, served):
    log, address = served
    with looking_at(browser, address) as page:
        until(page, "window.townlet && townlet.logs[0].count === 5")
        page.evaluate("() => { window.still = 1; }")
        page.keyboard.press("+")
        range_before = page.evaluate("() => townlet.state.range")
        wrote(log, 6, 9, max_entries=3)  # a restart, with rotations
        until(page, "townlet.logs[0].count === 8")
        assert page.evaluate("() => townlet.logs[0].columns.get('epoch')") == list(range(1, 9))
        assert page.evaluate("() => window.still") == 1
        assert page.evaluate("() => townlet.state.range") == range_before
        assert page.evaluate("() => townlet.charts[1].lines[0].ys.length") == 8
        page.locator("#status").filter(has_text="live; ppo.jsonl: 8 epochs").wait_for()
        page.locator("#alarms p", has_text="epoch 7").wait_for()
        with log.open("ab") as stream:
            stream.write(b'{"epoch":9')
        seen = page.evaluate("() => townlet.state.polls")
        until(page, f"townlet.state.polls > {seen + 2}")
        assert page.evaluate("() => townlet.logs[0].count") == 8


def test_a_run_begun_anew_replaces_the_old_one(browser, served):
    log, address = served
    with looking_at(browser, address) as page:
        until(page, "window.townlet && townlet.logs[0].count === 5")
        log.unlink()
        with TelemetryWriter(log) as writer:
            writer.write(record(1, clip_fraction=0.9, agents={}))
        until(page, "townlet.logs[0].count === 1")
        assert page.evaluate("() => townlet.logs[0].columns.get('clip_fraction')") == [0.9]
        page.locator("#alarms p", has_text="clip_fraction 0.9").wait_for()
        assert page.locator("#agent-part").is_hidden()


def test_a_server_that_went_away_is_told(browser, tmp_path):
    log = wrote(tmp_path / "ppo.jsonl", 1, 3)
    server = server_of(Board([log], []).routes(0.1))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/"
    with looking_at(browser, address, strict=False) as page:
        until(page, "window.townlet && townlet.logs[0].count === 2")
        server.shutdown()
        server.server_close()
        page.locator("#status").filter(has_text="does not answer").wait_for()


def test_a_server_that_comes_back_goes_on_or_shows_its_own_logs(browser, tmp_path):
    logs = [wrote(tmp_path / "a.jsonl", 1, 3), wrote(tmp_path / "b.jsonl", 1, 6)]

    def started(paths, port=0):
        server = server_of(Board(paths, []).routes(0.1), port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def stopped(server):
        server.shutdown()
        server.server_close()
        page.locator("#status").filter(has_text="does not answer").wait_for()

    server = started(logs)
    port = server.server_address[1]
    with looking_at(browser, f"http://127.0.0.1:{port}/", strict=False) as page:
        status = page.locator("#status")
        status.filter(has_text="live; a.jsonl: 2 epochs, b.jsonl: 5 epochs").wait_for()
        page.evaluate("() => { window.still = 1; }")
        stopped(server)
        wrote(logs[0], 3, 5)
        server = started(logs, port)
        status.filter(has_text="live; a.jsonl: 4 epochs, b.jsonl: 5 epochs").wait_for()
        assert page.evaluate("() => window.still") == 1
        stopped(server)
        server = started(logs[::-1], port)
        status.filter(has_text="live; b.jsonl: 5 epochs, a.jsonl: 4 epochs").wait_for()
        stopped(server)
        server = started(logs[:1], port)
        status.filter(has_text="live; a.jsonl: 4 epochs").wait_for()
        server.shutdown()
        server.server_close()


def test_a_server_that_holds_its_answer_back_is_told(browser, served, monkeypatch):
    _, address = served
    held = threading.Event()
    with looking_at(browser, address, strict=False) as page:
        until(page, "window.townlet && townlet.logs[0].count === 5")
        page.evaluate("() => { townlet.state.patience = 200; }")
        monkeypatch.setattr(Board, "records", lambda self, query: held.wait() and [])
        page.locator("#status").filter(has_text="does not answer").wait_for()
        monkeypatch.undo()
        held.set()
        page.locator("#status").filter(has_text="live; ppo.jsonl: 5 epochs").wait_for()


def test_a_log_that_is_not_there_is_told(browser, tmp_path):
    with server_of(Board([tmp_path / "typo.jsonl"], []).routes(0.1)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with looking_at(browser, f"http://127.0.0.1:{server.server_address[1]}/") as page:
            page.locator("#nothing", has_text="typo.jsonl: no such file yet").wait_for()
            wrote(tmp_path / "typo.jsonl", 1, 3)
            until(page, "townlet.logs[0].count === 2")
            page.locator("#nothing").wait_for(state="hidden")
        server.shutdown()


def test_names_of_strangers_stay_text(browser, tmp_path):
    log = tmp_path / EVIL.replace("/", "_")
    with TelemetryWriter(log) as writer:
        writer.write(
            epoch(
                1,
                objective=EVIL,
                agents={
                    name: AgentFigures(rows=1, segments=1, reward_sum=2.0, entropy=1.0, ess=1.0)
                    for name in (EVIL, "__proto__", "constructor")
                },
            )
        )
    with log.open("ab") as stream:
        stream.write(b'{"telemetry_version": "<img src=x onerror=alert(1)>"}\n')
    page_file = write_board(Board([log, log], []), tmp_path / "board.html")
    with looking_at(browser, page_file) as page:
        ready(page)
        assert page.locator("#agents .chip").all_inner_texts() == [EVIL, "__proto__", "constructor"]
        assert EVIL in page.locator("#newest tr", has_text="objective").first.inner_text()
        assert "<img src=x" in page.locator("#nothing").inner_text()
        assert log.name in page.locator("#status").inner_text()
        assert page.locator("img").count() == 0


def test_figures_too_alike_for_a_scale_of_their_own_are_drawn(browser, tmp_path):
    log = tmp_path / "huge.jsonl"
    with TelemetryWriter(log) as writer:
        for number, value in ((1, 1e17), (2, 1e17 + 16)):
            writer.write(record(number, loss_value=value))
    with looking_at(browser, write_board(Board([log], []), tmp_path / "board.html")) as page:
        ready(page)
