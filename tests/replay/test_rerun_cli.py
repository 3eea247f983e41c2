"""Modes on the command line: verify, materialise, reobserve, sizes, plan; and damaged logs."""

import json

import numpy as np
import pytest
from cli_runs import refusal, townlet
from logged_towns import unsealed
from town_captures import digests, tiny_checkpoint, tiny_network

from townlet_env.config.load import load_scenario
from townlet_env.config.template import write_scenario
from townlet_env.views.parallel import TownletParallelEnv
from townlet_replay import PolicyRuntime, load_capture
from townlet_replay.action_log import load_log
from townlet_replay.capture import CaptureSettings, record_policy, record_scenario
from townlet_replay.errors import CaptureError
from townlet_replay.npz import encode_npz
from townlet_replay.npz_reader import decode_npz
from townlet_replay.packing import pack, unpack
from townlet_replay.reliving.stage import Stage
from townlet_replay.rerun_sources import open_source
from townlet_replay.safe_files import sha256_of
from townlet_replay.sizes import capture_sizes
from townlet_replay.verifying import verify

SCENARIO = ["queue_conflict", "--ticks", "40", "--epsilon", "0.2", "--episodes", "2"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    for mode in ("full", "packed", "actions"):
        ran = townlet("capture", *SCENARIO, "--mode", mode, "--output", folder / mode, "--json")
        assert ran.code == 0, ran.err
        assert ran.json[0]["rows"] == 240
    return folder


def test_from_log_to_capture_and_back(recorded, tmp_path):
    log = recorded / "actions"
    ran = townlet("captures", "verify", log)
    assert ran.code == 0
    assert "2 episodes, 80 ticks, 240 rows lived again, all the same" in " ".join(ran.out.split())
    again = tmp_path / "again"
    ran = townlet("captures", "materialise", log, "--output", again, "--json")
    assert ran.json["rows"] == 240
    assert digests(again) == digests(recorded / "full")
    packed = tmp_path / "packed"
    assert townlet("captures", "materialise", log, "-o", packed, "--mode", "packed").code == 0
    assert digests(packed) == digests(recorded / "packed")
    for capture in (again, packed):
        assert townlet("captures", "verify", capture, "--json").json == {
            "episodes": 2, "ticks": 80, "rows": 240, "mismatch": None, "ok": True,
        }  # fmt: skip


def test_a_difference_is_exit_code_1_and_named(recorded, monkeypatch):
    real = Stage.play

    def play(stage, acts):
        ben = next(acting for acting in acts[0].residents if acting.agent_id == "ben")
        ben.actions[7] = 1 - ben.actions[7] % 2
        return real(stage, acts)

    monkeypatch.setattr(Stage, "play", play)
    ran = townlet("captures", "verify", recorded / "full", "--json")
    assert ran.code == 1
    found = ran.json["mismatch"]
    assert (found["episode"], found["tick"], found["agent"]) == (0, 8, "ben")
    assert found["field"] == "illegal_actions"
    ran = townlet("captures", "verify", recorded / "actions")
    assert ran.code == 1
    assert "episode 0, tick 8: state was recorded as one state" in " ".join(ran.out.split())


def test_reobserve(recorded, tmp_path):
    for mode in ("actions", "packed"):
        ran = townlet(
            "captures", "reobserve", recorded / mode, "--variant", "compact",
            "--reward", "survival_tick=0.5", "--prefix", "thin", "-o", tmp_path / mode,
        )  # fmt: skip
        assert ran.code == 0, ran.err
    assert digests(tmp_path / "actions") == digests(tmp_path / "packed")
    (sample, *_) = load_capture(tmp_path / "actions")
    assert set(sample.observations) == {"features"}
    out = ("--output", tmp_path / "no")
    assert "found 'joy'" in refusal(
        "captures", "reobserve", recorded / "full", "--reward", "joy", *out
    )
    assert "rewards.joy" in refusal(
        "captures", "reobserve", recorded / "full", "--reward", "joy=1", *out
    )
    assert "a capture already" in refusal("captures", "materialise", recorded / "full", *out)
    assert not (tmp_path / "no").exists()


def test_a_scenario_of_ones_own_is_given_with_config(tmp_path):
    path = write_scenario("mine", tmp_path)
    assert townlet("capture", path, "--output", tmp_path / "out", "--ticks", "20").code == 0
    assert "give its file with --config" in refusal("captures", "verify", tmp_path / "out")
    assert townlet("captures", "verify", tmp_path / "out", "--config", path).code == 0
    log = tmp_path / "log"
    assert townlet("capture", path, "-o", log, "--ticks", "20", "--mode", "actions").code == 0
    assert townlet("captures", "verify", log).code == 0, "a log has the whole scenario"


def test_sizes_add_up_to_the_files(recorded):
    for mode in ("full", "packed", "actions"):
        files = sum(path.stat().st_size for path in (recorded / mode).iterdir())
        found = townlet("captures", "sizes", recorded / mode, "--json").json
        assert found["total"] == files == sum(found["fields"].values())
        assert found["rows"] == 240
    sizes = [capture_sizes(recorded / mode).total for mode in ("full", "packed", "actions")]
    assert sizes == sorted(sizes, reverse=True)
    assert "features" in townlet("captures", "sizes", recorded / "packed").out


def test_plan_comes_near_to_what_is_recorded(recorded, tmp_path):
    plans = townlet(
        "captures", "plan", "queue_conflict", "--ticks", "40", "--episodes", "2", "--json"
    )
    for plan in plans.json:
        taken = capture_sizes(recorded / plan["mode"]).total
        assert abs(plan["total"] - taken) < 0.25 * taken
    ran = townlet(
        "captures", "plan", "queue_conflict", "--ticks", "400", "--json",
        "--checkpoint", tiny_checkpoint(tmp_path / "net.json"),
    )  # fmt: skip
    full, packed, actions = (
        plan["fields"]["behaviour_logits" if plan["mode"] != "actions" else "logits"]
        for plan in ran.json
    )
    assert full > packed > 90
    assert abs(actions - packed) < 20
    ran = townlet(
        "captures", "plan", "queue_conflict", "--ticks", "400", "--no-logits", "--json",
        "--checkpoint", tmp_path / "net.json",
    )  # fmt: skip
    assert [p["per_row"] for p in ran.json] == sorted(
        (p["per_row"] for p in ran.json), reverse=True
    )
    assert all("logits" not in field for plan in ran.json for field in plan["fields"])


def test_info_and_validate_know_logs(recorded, tmp_path):
    ran = townlet("captures", "info", recorded / "actions")
    assert "an action log" in ran.out
    assert "cleo" in ran.out
    assert townlet("captures", "info", recorded / "actions", "--json").json["mode"] == "actions"
    ran = townlet("captures", "validate", recorded / "actions", "--json")
    assert ran.json == {"ok": True, "samples": 6, "rows": 240, "damaged": [], "leftovers": []}
    assert "captures materialise" in refusal(
        "captures", "slice", recorded / "actions", "-o", tmp_path
    )


def verified(folder):
    """Verify; a mismatch is an error as well."""
    found = verify(open_source(folder)).mismatch
    if found is not None:
        raise CaptureError(str(found))


def bytes_of(text):
    return np.frombuffer(text, np.uint8)


def with_agents(**changes):
    """Change the directory of agents: the first of them."""

    def change(a):
        agents = json.loads(a["agents"].tobytes())
        agents[0] |= changes
        a["agents"] = bytes_of(json.dumps(agents).encode())

    return change


def at(name, place, value):
    return lambda a: a[name].__setitem__(place, value)


DAMAGE = {
    "no chain": (lambda a: a.pop("chain"), r"chain: expected uint8\[1, 16\], found none"),
    "strangers": (lambda a: a.update(extra=np.zeros(3)), "unknown array 'extra'"),
    "short": (lambda a: a.update(checks=a["checks"][1:]), r"checks: expected uint8\[41, 4\]"),
    "floats": (lambda a: a.update(rows=a["rows"] * 1.0), r"rows: expected int32\[3\], found float"),
    "no episodes": (lambda a: a.update(episode_id=a["episode_id"][:0]), "holds no episodes"),
    "no ticks": (at("ticks", 0, 0), "ticks: expected 1 to"),
    "no agents": (lambda a: a.pop("agents"), "not acceptable JSON"),
    "agents": (lambda a: a.update(agents=a["agents"][:-1]), "not acceptable JSON"),
    "widths": (with_agents(shape=[1000, 1000, 1000]), "more than 1000000 numbers"),
    "kinds": (with_agents(kind="x"), "directory of agents: 0.kind"),
    "shapes": (with_agents(shape=[2]), r"actions_i: expected uint8\[160\], found uint8\[120\]"),
    "beyond agents": (at("agent", 0, 3), "agent: expected 0 to 2"),
    "twice": (at("agent", 0, 1), "an agent has two lives in one episode"),
    "fewer rows": (at("rows", 0, 39), "rows of a life that do not fit"),
    "later": (at("first", 0, 1), "rows of a life that do not fit"),
    "unknown flags": (at("flags", 0, 77), "flags: expected 0 to 31"),
    "no scores": (at("flags", 0, 7), "logits: expected float32"),
    "gaps": (at("flags", 0, 21), r"acted: expected bool\[40\], found none"),
    "other rows": (
        lambda a: (at("flags", 0, 21)(a), a.update(acted=np.arange(40) != 7)),
        "acted: not the rows that the lives have",
    ),
    "beyond": (at("actions_i", 5, 99), "actions_i: 99 is no id, expected 0 to 30"),
    "negative": (lambda a: a.update(actions_i=a["actions_i"] - np.int16(9)), "is no id"),
    "probable": (at("log_probs", 0, 0.5), "log_probs: one of an action id is above 0"),
    "infinite": (at("values", 0, np.inf), "values: holds infinities; NaN means unknown"),
    "returns": (at("episode_return", 0, np.nan), "episode_return is no number"),
    "a return": (at("episode_return", 0, 7.0), "sum of rewards was recorded as 7.0"),
    "the chain": (at("chain", (0, 0), 1), "tick 40: state"),
    "what is seen": (at("seen", (0, 0), 1), "observations was recorded as one hash"),
    "a check": (at("checks", (9, 0), 1), "tick 9: state"),
    "nobody": (
        lambda a: a.update(agents=bytes_of(a["agents"].tobytes().replace(b"ben", b"bob"))),
        "agent 'bob' is none of this environment",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_forged_logs_end_in_one_sentence(recorded, tmp_path, kind):
    for file in (recorded / "actions").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "rollout_sample_episodes_000.npz"
    packed = decode_npz(path.read_bytes(), "log")["packed"]
    arrays = unpack(packed, 10**9)
    change, message = DAMAGE[kind]
    change(arrays)
    data = encode_npz({"packed": pack(arrays)}, compress=False)
    before, listed = sha256_of(path.read_bytes()), load_log(tmp_path).path
    path.write_bytes(data)
    words = unsealed(listed.read_bytes()).decode()
    listed.write_text(words.replace(before, sha256_of(data)))
    with pytest.raises(CaptureError, match=message) as caught:
        verified(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_scenario_that_is_forged(recorded, tmp_path):
    import gzip

    for file in (recorded / "actions").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "rollout_sample_scenario.json.gz"
    listed = load_log(tmp_path).path
    listed.write_bytes(unsealed(listed.read_bytes()))
    sound = path.read_bytes()
    text = gzip.decompress(sound)
    ticks = json.loads(text) | {"ticks": 41}
    for data, message in (
        (gzip.compress(b"{" + b" " * 10**7), "more than 8388608 bytes"),
        (b"no gzip", "not sound gzip"),
        (sound[:-20], "cut off"),
        (gzip.compress(b"[]"), "expected a JSON object"),
        (gzip.compress(b'{"a": NaN}'), "not acceptable JSON"),
        (gzip.compress(json.dumps(ticks).encode()), "this version reads the scenario as"),
    ):
        before = sha256_of(path.read_bytes())
        path.write_bytes(data)
        listed.write_text(listed.read_text().replace(before, sha256_of(data)))
        with pytest.raises(CaptureError, match=message):
            open_source(tmp_path)


def test_a_day_of_eight_residents_takes_no_more_bytes_than_the_page_says(tmp_path):
    config, network = load_scenario("town_day"), tiny_network("town_day")
    limits = {"packed": 45, "actions": 8}
    for mode, limit in limits.items():
        settings = CaptureSettings(mode=mode, logits=False)
        runtime = PolicyRuntime(network, seed=11)
        env = TownletParallelEnv(config, details=True)
        record_policy(env, runtime, tmp_path / mode, ticks=1440, seed=11, settings=settings)
        found = capture_sizes(tmp_path / mode)
        assert found.total / found.rows < limit, mode
    record_scenario(config, tmp_path / "script", CaptureSettings(mode="actions"))
    found = capture_sizes(tmp_path / "script")
    assert found.total / found.rows < 1.5
