"""The page to watch a recording shows what happened, and nothing in it can be run."""

import json
import re
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest
from capture_toys import life
from cli_runs import townlet

from townlet_env import townlet_v0
from townlet_replay.errors import CaptureError
from townlet_replay.manifest import load_capture
from townlet_replay.recorder import RecordReplay
from townlet_replay.view.facts import facts_of
from townlet_replay.view.page import html_of, write_page
from townlet_replay.view.serving import HOST, server_of
from townlet_replay.writer import CaptureWriter

TICKS = 60


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Two episodes of chance, as a capture and as an action log; and the states."""
    folder = tmp_path_factory.mktemp("recorded")
    seen = []
    for mode in ("full", "actions"):
        env = townlet_v0.parallel_env("shared_flat", max_ticks=TICKS)
        rng = np.random.default_rng(3)
        with RecordReplay(env, folder / mode, mode=mode) as recorder:
            for seed in (5, 6):
                observations, _ = recorder.reset(seed=seed)
                world = env.batch.worlds[0]
                states = [(world.x.copy(), world.y.copy(), world.needs.copy())]
                while recorder.agents:
                    legal = {
                        agent: int(rng.choice(np.flatnonzero(observations[agent]["action_mask"])))
                        for agent in recorder.agents
                    }
                    observations, *_ = recorder.step(legal)
                    states.append((world.x.copy(), world.y.copy(), world.needs.copy()))
                seen.append(states)
    return folder, seen[:2]


@pytest.mark.parametrize("mode", ["full", "actions"])
@pytest.mark.parametrize("episode", [0, 1])
def test_a_town_is_shown_as_it_was(recorded, mode, episode):
    folder, seen = recorded
    facts = facts_of(folder / mode, episode)
    assert facts["kind"] == "town"
    assert facts["ticks"] == TICKS + 1
    first_x = np.array([facts["agents"][name]["x"][0] for name in facts["agents"]])
    shift = int(seen[episode][0][0][0]) - first_x[0]
    for k, track in enumerate(facts["agents"].values()):
        for look, (x, _, needs) in enumerate(seen[episode]):
            assert track["x"][look] + shift == x[k]
            assert track["hunger"][look] == pytest.approx(needs[k, 0], abs=1e-3)
    capture = load_capture(folder / "full")
    for index, entry in enumerate(capture.manifest.samples):
        if entry.episode_id == episode:
            shown = facts["agents"][entry.agent_id]["reward"][1:]
            np.testing.assert_allclose(shown, capture.sample(index).rewards, rtol=1e-3, atol=1e-6)
            parts = np.array(facts["agents"][entry.agent_id]["parts"][1:])
            np.testing.assert_allclose(parts.sum(axis=1), shown, rtol=1e-2, atol=1e-4)
            assert facts["rows"][entry.agent_id] == list(range(TICKS))
    assert {event["tick"] for event in facts["events"]} <= set(range(1, TICKS + 1))
    assert facts["events"]


def test_things_and_people_stand_where_they_can(recorded):
    facts = facts_of(recorded[0] / "full")
    walls, objects = facts["map"]["walls"], facts["map"]["objects"]
    assert all("." in row for row in (walls[1], walls[-2]))  # cut down to the town
    taken = {(o["x"], o["y"]) for o in objects}
    for track in facts["agents"].values():
        for x, y in zip(track["x"], track["y"], strict=True):
            assert walls[y][x] == "."
            assert (x, y) not in taken


def test_other_environments_show_their_rows(tmp_path):
    with CaptureWriter(tmp_path) as writer:
        writer.write_episode([life("anna", 4, rows=6), life("ben", 4, rows=3)])
    facts = facts_of(tmp_path)
    capture = load_capture(tmp_path)
    assert facts["kind"] == "tracks"
    assert facts["episode"] == 4
    assert facts["ticks"] == 7
    for entry in capture.manifest.samples:
        track = facts["agents"][entry.agent_id]
        assert sum(track["reward"]) == pytest.approx(entry.episode_return, abs=1e-2)
        assert len(track["seen"]) == len(track["action"]) == entry.rows
    json.dumps(facts, allow_nan=False)


def test_a_part_of_an_episode_is_shown_as_rows(tmp_path):
    env = townlet_v0.parallel_env("shared_flat", max_ticks=5)
    with RecordReplay(env, tmp_path / "part", agents=("ana",)) as recorder:
        recorder.reset(seed=1)
        move = env.plan.names.actions.index("move:west")
        while recorder.agents:
            recorder.step(dict.fromkeys(recorder.agents, move))
    facts = facts_of(tmp_path / "part")
    assert facts["kind"] == "tracks"
    assert "others acted whose rows are not here" in facts["note"]


def test_an_episode_that_is_not_there_is_refused(recorded, tmp_path):
    for mode in ("full", "actions"):
        with pytest.raises(CaptureError, match="has no episode 7"):
            facts_of(recorded[0] / mode, 7)
    with pytest.raises(CaptureError, match="expected the directory of a capture"):
        facts_of(tmp_path / "nowhere")


def test_names_from_a_capture_are_only_text(tmp_path):
    evil = "</script><script>alert(1)</script>"
    with CaptureWriter(tmp_path) as writer:
        writer.write_episode([life(evil, rows=3)])
    page = html_of(facts_of(tmp_path))
    assert evil not in page
    assert page.count("<script") == 2  # the data and the program
    data = re.search(r'<script type="application/json" id="facts">(.*?)</script>', page, re.DOTALL)
    assert json.loads(data[1])["agents"].keys() == {evil}


def test_the_page_needs_no_network(recorded, tmp_path):
    path = write_page(facts_of(recorded[0] / "full"), tmp_path / "deep" / "watch.html")
    text = path.read_text("utf-8")
    program = text.split('id="facts">')[0] + text.rsplit("<script>", 1)[1]
    assert not re.search(r"https?:|src=|href=|@import|url\(", program)


def test_the_server_has_one_page_for_this_machine_only():
    with server_of("<p>here</p>") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host, port = server.server_address[:2]
        assert host == HOST == "127.0.0.1"
        with urllib.request.urlopen(f"http://{host}:{port}/") as answer:
            assert answer.read() == b"<p>here</p>"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://{host}:{port}/etc/passwd")
        with pytest.raises(CaptureError, match="choose another"):
            server_of("", port)
        server.shutdown()


def test_command_line(recorded, tmp_path):
    out = tmp_path / "watch.html"
    done = townlet("captures", "view", recorded[0] / "full", "--out", out, "--episode", "1")
    assert done.code == 0
    assert "episode 1" in out.read_text("utf-8")
    assert townlet("captures", "view", tmp_path, "--out", out).code == 1
