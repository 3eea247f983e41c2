"""The page to watch a recording shows what happened, and nothing in it can be run."""

import base64
import hashlib
import html
import http.client
import json
import math
import re
import threading
import zlib
from dataclasses import replace

import numpy as np
import pytest
from capture_toys import life
from cli_runs import townlet
from town_captures import network_capture, script_capture, tiny_checkpoint

from townlet_env import townlet_v0
from townlet_env.config.load import load_scenario
from townlet_env.render.scene import look_at_town
from townlet_replay.capture import CaptureSettings, capture_scenario
from townlet_replay.errors import CaptureError
from townlet_replay.manifest import load_capture
from townlet_replay.recorder import RecordReplay
from townlet_replay.view.facts import facts_of
from townlet_replay.view.packed import packed
from townlet_replay.view.page import html_of
from townlet_replay.view.rows import _pieces, probabilities, rows_of
from townlet_replay.view.serving import HOST, page_route, server_of
from townlet_replay.view.shell import policy_of
from townlet_replay.view.town_film import IN_FULL
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
    shift = int(seen[episode][0][0][0]) - int(facts["agents"][0]["x"][0])
    for track in facts["agents"]:
        k = track["slot"]
        for look, (x, _, needs) in enumerate(seen[episode]):
            assert track["x"][look] + shift == x[k]
            assert track["hunger"][look] / IN_FULL == pytest.approx(needs[k, 0], abs=1e-4)
    places = {track["name"]: k for k, track in enumerate(facts["agents"])}
    capture = load_capture(folder / "full")
    for index, entry in enumerate(capture.manifest.samples):
        if entry.episode_id == episode:
            k, sample = places[entry.agent_id], capture.sample(index)
            shown = facts["agents"][k]["reward"][1:]
            np.testing.assert_array_equal(shown, sample.rewards)
            parts = facts["agents"][k]["parts"][1:]
            np.testing.assert_allclose(parts.sum(axis=1), shown, rtol=1e-3, atol=1e-6)
            assert facts["known"][k]["looks"].tolist() == list(range(TICKS))
            assert facts["known"][k]["action"][:, 0].tolist() == sample.actions.tolist()
    ticks = facts["events"]["tick"]
    assert len(ticks)
    assert (np.diff(ticks.astype(int)) >= 0).all()
    assert set(ticks.tolist()) <= set(range(1, TICKS + 1))


def test_queues_and_words_are_those_of_the_scene(tmp_path):
    """Film of a conflict, compared with what the pictures of the town show at every tick."""
    script_capture("queue_conflict", tmp_path / "rows")
    facts = facts_of(tmp_path / "rows")
    env = townlet_v0.parallel_env("queue_conflict")
    env.reset(seed=facts["seed"])
    chosen = [known["action"][:, 0].astype(int).tolist() for known in facts["known"]]
    waits = 0
    for look in range(facts["ticks"]):
        for resident, track in zip(look_at_town(env.batch).residents, facts["agents"], strict=True):
            assert facts["words"][track["doing"][look]] == resident.doing
            assert track["line"][look] == resident.queue_object
            waits += resident.queue_object >= 0
        if env.agents:
            env.step({track["name"]: chosen[k][look] for k, track in enumerate(facts["agents"])})
    assert waits
    kinds = [facts["events"]["kinds"][kind] for kind in facts["events"]["kind"]]
    assert "queue_conflict" in kinds
    rivalry = facts["ties"]["rivalry"]
    assert rivalry["strength"].shape == (len(rivalry["a"]), facts["ticks"])
    assert rivalry["strength"].max() > 0


def test_who_comes_and_goes_is_there_while_they_are(tmp_path):
    script_capture("newcomer_arrival", tmp_path / "rows")
    facts = facts_of(tmp_path / "rows")
    late = [agent for agent in facts["agents"] if agent["from"] > 0]
    assert late
    assert facts["kind"] == "town"
    capture = load_capture(tmp_path / "rows")
    returns = {entry.agent_id: entry.episode_return for entry in capture.manifest.samples}
    for agent in facts["agents"]:  # the last reward of who left included
        assert float(agent["reward"].sum()) == pytest.approx(returns[agent["name"]], rel=1e-4)
        assert len(agent["reward"]) - len(agent["x"]) in (0, 1)


def test_probabilities_are_those_of_the_behaviour(tmp_path):
    """With logits, the mask decides as well: the action's share is the recorded probability."""
    path = tiny_checkpoint(tmp_path / "net.json")
    network_capture("queue_conflict", tmp_path / "rows", path, logits=True)
    for facts in (facts_of(tmp_path / "rows"), rows_of(load_capture(tmp_path / "rows"), 0, "")):
        for known in facts["known"]:
            for row, action in enumerate(known["action"][:, 0].astype(int)):
                place = known["likely"][row].tolist().index(action)
                share = known["probs"][row, place] / IN_FULL
                assert share == pytest.approx(math.exp(known["log_probs"][row]), abs=1e-4)
            assert np.isfinite(known["values"]).all()


def test_probabilities_of_rows_without_logits_are_none():
    logits = np.array([[0.0, 0.0, 5.0], [np.nan] * 3], np.float32)
    mask = np.array([[1, 1, 0], [1, 1, 1]], np.int8)
    assert probabilities(logits, mask).tolist() == [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]


def test_things_and_people_stand_where_they_can(recorded):
    facts = facts_of(recorded[0] / "full")
    walls, objects = facts["map"]["walls"], facts["map"]["objects"]
    assert all("." in row for row in (walls[1], walls[-2]))  # cut down to the town
    taken = {(o["x"], o["y"]) for o in objects}
    for track in facts["agents"]:
        for x, y in zip(track["x"].tolist(), track["y"].tolist(), strict=True):
            assert walls[y][x] == "."
            assert (x, y) not in taken


def test_other_environments_show_their_rows(tmp_path):
    with CaptureWriter(tmp_path) as writer:
        writer.write_episode([life("anna", 4, rows=6), life("ben", 4, rows=3)])
    facts = facts_of(tmp_path)
    capture = load_capture(tmp_path)
    assert facts["kind"] == "rows"
    assert facts["episode"] == 4
    assert facts["ticks"] == 7
    for track, known, entry in zip(
        facts["agents"], facts["known"], capture.manifest.samples, strict=True
    ):
        assert track["name"] == entry.agent_id
        assert track["reward"].sum() == pytest.approx(entry.episode_return, abs=1e-5)
        assert len(track["seen"]) == len(known["action"]) == entry.rows
    packed(facts)


def test_a_life_in_pieces_is_shown_whole(tmp_path):
    rows = [life("anna", 4, rows=6), life("anna", 4, rows=3)]
    later = replace(rows[1], ticks=rows[1].ticks + 8)  # a gap of two ticks
    agent, known = _pieces("anna", [later, rows[0]], 1)
    assert agent["from"] == 0
    assert known["looks"].tolist() == [0, 1, 2, 3, 4, 5, 8, 9, 10]
    assert agent["reward"].tolist()[7:9] == [0.0, 0.0]
    assert agent["reward"].sum() == pytest.approx(rows[0].rewards.sum() + later.rewards.sum())


def test_a_part_of_an_episode_is_shown_as_rows(tmp_path):
    env = townlet_v0.parallel_env("shared_flat", max_ticks=5)
    with RecordReplay(env, tmp_path / "part", agents=("ana",)) as recorder:
        recorder.reset(seed=1)
        move = env.plan.names.actions.index("move:west")
        while recorder.agents:
            recorder.step(dict.fromkeys(recorder.agents, move))
    facts = facts_of(tmp_path / "part")
    assert facts["kind"] == "rows"
    assert "others acted whose rows are not here" in facts["note"]


def test_arrays_come_back_from_the_page():
    facts = {"deep": [{"a": np.arange(5, dtype=np.int16)}], "b": np.eye(3, dtype=np.float32)}
    document, columns = packed(facts)
    data = zlib.decompress(base64.b64decode(columns))
    found = json.loads(document)
    for place, expected in (
        (found["deep"][0]["a"]["$"], facts["deep"][0]["a"]),
        (found["b"]["$"], facts["b"]),
    ):
        dtype, offset, size, width = place
        assert offset % 8 == 0
        array = np.frombuffer(data, f"<{dtype}", size, offset)
        assert array.tolist() == expected.ravel().tolist()
        assert width == (expected.shape[1] if expected.ndim == 2 else 0)
    with pytest.raises(ValueError, match="found complex128"):
        packed({"a": np.zeros(2, complex)})


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
    assert page.count("<script") == 3  # two of data, one that runs
    data = re.search(r'<script type="application/json" id="facts">(.*?)</script>', page, re.DOTALL)
    assert [agent["name"] for agent in json.loads(data[1])["agents"]] == [evil]


def test_only_what_the_policy_names_can_run(recorded):
    page = html_of(facts_of(recorded[0] / "full"))
    policy = html.unescape(re.search(r'Security-Policy" content="([^"]*)"', page)[1])
    for element in ("script", "style"):
        (text,) = re.findall(f"<{element}>(.*?)</{element}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")
    assert "connect-src 'none'" in policy
    assert "unsafe" not in policy
    assert "connect-src 'self'" in policy_of(["a"], ["b"], asks=True)


def test_the_same_recording_makes_the_same_page(recorded):
    assert html_of(facts_of(recorded[0] / "full")) == html_of(facts_of(recorded[0] / "full"))


@pytest.fixture
def server():
    with server_of({"/": page_route("<p>here</p>")}) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def status_of(server, path, host=None):
    """What a request gets that calls the machine ``host``."""
    port = server.server_address[1]
    link = http.client.HTTPConnection("127.0.0.1", port)
    link.request("GET", path, headers={"Host": host or f"127.0.0.1:{port}"})
    answer = link.getresponse()
    found = answer.status, answer.read(), dict(answer.headers)
    link.close()
    return found


def test_the_server_has_its_pages_for_this_machine_only(server):
    assert server.server_address[0] == HOST == "127.0.0.1"
    status, body, headers = status_of(server, "/?a=b")
    assert (status, body) == (200, b"<p>here</p>")
    assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert status_of(server, "/etc/passwd")[:2] == (404, b"")
    port = server.server_address[1]
    assert status_of(server, "/", f"localhost:{port}")[0] == 200
    for name in (f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}"):
        assert status_of(server, "/", name)[:2] == (403, b"")
    with pytest.raises(CaptureError, match="choose another"):
        server_of({}, port)


def test_a_town_of_ones_own_is_shown_with_its_file(tmp_path):
    own = load_scenario("queue_conflict").model_copy(update={"name": "my_town", "ticks": 20})
    capture_scenario(own, tmp_path / "rows", CaptureSettings())
    assert facts_of(tmp_path / "rows")["kind"] == "rows"
    assert facts_of(tmp_path / "rows", config=own)["kind"] == "town"


def test_command_line(recorded, tmp_path):
    out = tmp_path / "watch.html"
    done = townlet("captures", "view", recorded[0] / "full", "--out", out, "--episode", "1")
    assert done.code == 0
    assert "episode 1" in out.read_text("utf-8")
    assert townlet("captures", "view", tmp_path, "--out", out).code == 1
