"""The data behind the page of training logs: what is asked for comes, once, and as text."""

from __future__ import annotations

import json
import re
import threading
import urllib.request

import numpy as np
import pytest
from cli_runs import refusal, townlet
from epoch_logs import epoch

from townlet_replay.errors import TelemetryError
from townlet_replay.training.telemetry import TelemetryWriter
from townlet_replay.training.telemetry_schema import AgentFigures, EpochRecord, keys_of
from townlet_replay.training.telemetry_watch import DEFAULT_LIMITS
from townlet_replay.view import board as board_module
from townlet_replay.view.board import Board, write_board
from townlet_replay.view.panels import AGENT_PANELS, COLUMN_KEYS, PANELS, agents_of, numbers_of
from townlet_replay.view.serving import server_of

EVIL = "</script><img src=x onerror=alert(1)>"


def wrote(path, *numbers, version="2", **figures):
    with TelemetryWriter(path, version=version) as writer:
        for number in numbers:
            writer.write(epoch(number, **figures))


def asked(part):
    """What a page that has a part asks with."""
    return f"{part['token']}:{part['first'] + part['count']}"


def test_every_curve_is_a_figure_of_the_schema():
    keys = {curve.key for panel in PANELS for curve in panel.curves}
    assert keys <= set(COLUMN_KEYS)
    drawn_elsewhere = {"epoch", "updates", "transitions", "steps", "cycle_id", "log_stream_offset"}
    shares = {"epoch_duration_sec", "collect_sec", "update_sec"}
    baseline = {"baseline_sample_count", "baseline_reward_sum", "baseline_log_prob_mean"}
    rest = {"loss_entropy", "batch_entropy_std", "reward_advantage_corr", "rollout_ticks"}
    rest |= {"epochs_completed", "early_stops", "chat_quality_mean"}
    assert set(COLUMN_KEYS) - keys == drawn_elsewhere | shares | baseline | rest
    assert {limit.key for limit in DEFAULT_LIMITS} <= keys
    assert len({panel.title for panel in (*PANELS, *AGENT_PANELS)}) == len(PANELS + AGENT_PANELS)


def test_figures_of_a_record():
    record = epoch(
        3,
        epoch_duration_sec=4.0,
        collect_sec=3.0,
        agents={"ana": AgentFigures(rows=9, segments=2, reward_sum=5.0, entropy=None, ess=0.5)},
    )
    numbers = numbers_of(record)
    assert numbers["share.collect"] == 0.75
    assert numbers["share.update"] is None
    assert numbers["steps"] == 300
    assert agents_of(record) == {"ana": (9, 2, 5.0, 2.5, None, 0.5)}
    assert agents_of(epoch(1)) == {}


@pytest.mark.parametrize("version", ["1", "1.1", "2"])
def test_logs_of_every_version_are_shown(tmp_path, version):
    wrote(tmp_path / "log", 1, 2, version=version)
    (part,) = Board([tmp_path / "log"], []).records("")
    assert part["columns"]["loss_total"] == [1.0, 0.5]
    assert part["newest"]["telemetry_version"] == float(version)
    assert write_board(Board([tmp_path / "log"], []), tmp_path / "page.html").is_file()


def test_only_what_is_new_comes(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    board = Board([one, other], [])
    assert [part["total"] for part in board.records("")] == [0, 0]
    wrote(one, 1, 2)
    wrote(other, 1)
    first = board.records("")
    assert [part["columns"]["epoch"] for part in first] == [[1, 2], [1]]
    wrote(one, 3)
    second = board.records("&".join(f"have={asked(part)}" for part in first))
    assert [(part["first"], part["count"], part["total"]) for part in second] == [
        (2, 1, 3),
        (1, 0, 1),
    ]
    assert second[0]["columns"]["epoch"] == [3]
    assert second[1]["columns"] == {}


def test_rotation_changes_nothing_and_a_new_log_everything(tmp_path):
    path = tmp_path / "log"
    board = Board([path], [])
    with TelemetryWriter(path, max_entries=2) as writer:
        for number in (1, 2):
            writer.write(epoch(number))
        (part,) = board.records("")
        for number in (3, 4, 5):
            writer.write(epoch(number))
    (later,) = board.records(f"have={asked(part)}")
    assert (later["token"], later["columns"]["epoch"]) == (part["token"], [3, 4, 5])
    for file in tmp_path.glob("log*"):
        file.unlink()
    wrote(path, 1, loss_total=7.0)
    (anew,) = board.records(f"have={asked(later)}")
    assert anew["token"] != later["token"]
    assert (anew["first"], anew["columns"]["loss_total"]) == (0, [7.0])


def test_what_is_no_mistake_in_a_log_is_told_as_well(tmp_path):
    path = tmp_path / "log"
    board = Board([path], [])

    def note():
        (part,) = board.records("")
        assert (part["name"], part["problem"]) == ("log", "")
        return part["note"]

    assert note() == "no such file yet"
    path.touch()
    assert note() == "no epoch yet"
    wrote(path, 1)
    assert note() == ""
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"epoch":2')
    assert note() == "the last line has no end yet and is left out"
    path.unlink()
    assert note() == "no such file yet, what was there before is gone"
    path.write_bytes(whole)
    assert note() == "was begun anew; what was there before is gone"


@pytest.mark.parametrize(
    "query", ["", "have=", "have=x:1", "have=0-:9999999999", "have=:-1", "have=%00:1", "have=a:²"]
)
def test_a_page_that_asks_for_nonsense_gets_everything(tmp_path, query):
    wrote(tmp_path / "log", 1, 2)
    (part,) = Board([tmp_path / "log"], []).records(query)
    assert part["columns"]["epoch"] == [1, 2]


def test_an_empty_answer_keeps_its_place(tmp_path):
    for name in ("one", "other"):
        wrote(tmp_path / name, 1, 2)
    board = Board([tmp_path / "one", tmp_path / "other"], [])
    have = asked(board.records("")[1])
    assert [part["count"] for part in board.records(f"have=&have={have}")] == [2, 0]


def test_a_long_log_comes_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(board_module, "MOST", 3)
    wrote(tmp_path / "log", *range(1, 9))
    board, seen, query = Board([tmp_path / "log"], []), [], ""
    for _ in range(3):
        (part,) = board.records(query)
        seen += part["columns"]["epoch"]
        assert part["total"] == 8
        query = f"have={asked(part)}"
    assert seen == list(range(1, 9))


def test_a_torn_line_waits_and_a_wrong_one_is_told(tmp_path):
    path = tmp_path / "log"
    wrote(path, 1)
    with path.open("ab") as stream:
        stream.write(json.dumps({EVIL: 1}).encode() + b'\n{"epoch":2')
    (part,) = Board([path], []).records("")
    assert part["columns"]["epoch"] == [1]
    assert part["problems"] == 1
    assert "telemetry_version" in part["problem"]


def test_a_log_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    wrote(tmp_path / "log", 1)
    board = Board([tmp_path / "log"], [])

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(board_module.LogTail, "look", refuse)
    assert board.records("")[0]["problem"] == "cannot be read: Permission denied"
    with pytest.raises(TelemetryError, match="cannot be read"):
        board.page()


def test_the_server_answers_with_json_and_names_stay_text(tmp_path):
    path = tmp_path / EVIL.replace("/", "_")
    wrote(path, 1, objective=EVIL, agents={EVIL: AgentFigures(
        rows=1, segments=1, reward_sum=1.0, entropy=None, ess=None)})  # fmt: skip
    board = Board([path], DEFAULT_LIMITS)
    with server_of(board.routes(0.5)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        at = f"http://127.0.0.1:{server.server_address[1]}"
        with urllib.request.urlopen(f"{at}/records?have=a:1") as answer:
            text, kind = answer.read().decode(), answer.headers["Content-Type"]
        with urllib.request.urlopen(at) as answer:
            page = answer.read().decode()
        server.shutdown()
    assert kind == "application/json"
    assert "<" not in text
    (part,) = json.loads(text)
    assert (part["names"], part["newest"]["objective"]) == ([EVIL], EVIL)
    assert part["agents"] == [[0, 0, 1, 1, 1.0, 1.0, None, None]]
    for shown in (page, board.page()):
        assert "<img" not in shown
        assert shown.count("<script") == 3
    assert "connect-src &#39;self&#39;" in page
    assert "connect-src &#39;none&#39;" in board.page()


def test_names_of_logs_differ(tmp_path):
    paths = [tmp_path / "a" / "ppo.jsonl", tmp_path / "b" / "ppo.jsonl"]
    for path in paths:
        wrote(path, 1)
    page = Board(paths, []).page()
    facts = json.loads(re.search(r'id="facts">(.*?)</script>', page, re.DOTALL)[1])
    assert facts["logs"] == ["a/ppo.jsonl", "b/ppo.jsonl"]
    assert facts["keys"][0][0] == "epoch"
    assert {key for key, _ in facts["keys"]} == set(keys_of(EpochRecord)) - {"agents"}


def test_the_same_log_makes_the_same_page(tmp_path):
    wrote(tmp_path / "log", 1, 2, 3)
    pages = {Board([tmp_path / "log"], DEFAULT_LIMITS).page() for _ in range(2)}
    assert len(pages) == 1
    assert np.isfinite(len(pages.pop()))


def test_command_line(tmp_path):
    log, out = tmp_path / "ppo.jsonl", tmp_path / "deep" / "board.html"
    missing = refusal("telemetry", "board", log, "--out", out)
    assert f"There is no record of training at {log}" in missing
    wrote(log, 1)
    ran = townlet("telemetry", "board", log, "--out", out, "--limit", "loss_total<=0.5")
    assert (ran.code, ran.out) == (0, f"{out}: open it in a browser\n")
    assert "set by --limit" in out.read_text("utf-8")
    assert "did you mean" in refusal("telemetry", "board", log, "--limit", "loss_totl<=1")
    log.write_text("nonsense\n")
    assert "expected a JSON object" in refusal("telemetry", "board", log, "--out", out)
