"""The benchmarks measure what they say, keep it, and the pages say what the results say."""

import json
import math
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
from rich.console import Console

from benchmarks import page, scale, watching
from benchmarks.groups import GROUPS, threads
from benchmarks.peers import Peer, PeerError, Running, interpreter, running
from benchmarks.plots import plot
from benchmarks.report import Report, read_results
from benchmarks.run import comparisons, names_of, spawn
from benchmarks.targets import TARGETS, Target, verdict
from benchmarks.twin import Twin
from townlet_env.config.compile import compile_plan
from townlet_env.config.load import load_scenario
from townlet_env.sim.batch import WorldBatch
from townlet_replay.bench.measure import Arm, Effort, Rate, alternate, ratio, timed
from townlet_replay.bench.plays import SEED, legal, script


@pytest.fixture
def report(tmp_path):
    return Report("some", tmp_path / "some.json", Effort(2, 0.01), Console(quiet=True))


def kept(report):
    return json.loads(report.path.read_text())


@pytest.mark.parametrize("written", page.PAGES, ids=lambda path: path.stem)
def test_pages_say_what_the_results_say(written):
    text = written.read_text(encoding="utf-8")
    assert page.render(text, read_results()) == text, "run python -m benchmarks.page --write"


def test_every_group_and_part_is_on_a_page():
    text = "".join(path.read_text(encoding="utf-8") for path in page.PAGES)
    assert {name for name, _ in page.PART.findall(text)} == set(page.PARTS) - {"scale"}
    assert set(GROUPS) <= set(page.PARTS)


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_can_be_opened(group):
    assert callable(import_module(f"benchmarks.groups.{group}").measure)


def test_a_changed_result_changes_the_page():
    results = read_results()
    row = {"ours": "a", "peer": "b", "ratio": 123.4, "lowest": 1.0, "highest": 2.0}
    row |= {"processor_ratio": 7.5}
    document = {
        "comparisons": [row],
        "arms": [],
        "figures": {},
        "curves": [],
        "missing": [],
    }
    part = page.PARTS["core"](results | {"core": document})
    assert "| a | b | **123x** | 1 to 2 | 7.5x |" in part


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match="found 'weather'"):
        page.render("<!-- bench: weather -->\n<!-- end of bench -->\n", {})


def test_pages_without_results_say_so():
    for name, write in page.PARTS.items():
        text = write({})
        assert "ot measured" in text, name


def test_arms_take_turns_and_ratios_are_medians_of_rounds():
    seen = []
    speeds = iter([1, 1, 8.0, 2.0, 9.0, 3.0, 40.0, 4.0])

    def arm(name):
        def play(seconds):
            seen.append(name)
            speed = next(speeds)
            return Rate(speed, speed / 2)

        return Arm(name, play)

    rates = alternate([arm("a"), arm("b")], Effort(3, 0.1))
    assert seen == ["a", "b"] * 4, "one warm-up, then three rounds"
    found = ratio(rates["a"], rates["b"])
    assert (found["ratio"], found["lowest"], found["highest"]) == (4.0, 3.0, 10.0)
    assert (found["ours_per_second"], found["peer_per_second"]) == (9.0, 3.0)
    assert found["processor_ratio"] == 4.0


def test_only_what_is_on_the_clock_counts():
    spent = []

    def act(clock):
        with clock:
            sum(range(20_000))
        sum(range(200_000))
        spent.append(1)
        return 10

    rate = timed(act, 0.01)
    assert rate.wall <= 10 * len(spent) / 0.01
    assert rate.wall > 0
    assert math.isfinite(rate.processor)


def test_results_are_kept_from_the_first_figure_on(report):
    report.figure("weight", 3.0, "kg")
    assert kept(report)["figures"] == {"weight": {"value": 3.0, "unit": "kg"}}
    assert kept(report)["complete"] is False
    report.finish()
    assert kept(report)["complete"] is True
    assert kept(report)["machine"]["cores"] >= 1


def test_ratios_of_arms_that_were_not_measured_are_left_out(report):
    rates = report.take_turns([Arm("a", lambda _: Rate(6.0, 3.0))], "some")
    report.compare(rates, "a", "absent")
    assert kept(report)["comparisons"] == []
    assert [row["arm"] for row in kept(report)["arms"]] == ["a"]


def test_a_group_that_fails_is_told(tmp_path):
    assert spawn("nonsense", tmp_path, Effort(1, 0.01), 60) == "ended with code 1"


def test_a_group_that_hangs_is_ended(tmp_path):
    assert spawn("core", tmp_path, Effort(1, 0.01), 0.2) == "not done within 0 s"


def test_one_group_can_be_asked_for():
    assert names_of("views, core") == ["views", "core"]
    assert names_of(None) == list(GROUPS)
    with pytest.raises(Exception, match="found 'veiws'"):
        names_of("veiws")


def test_ratios_kept_before_are_found_by_name(report):
    rates = {"a": [Rate(6.0, 3.0)], "b": [Rate(2.0, 1.0)]}
    report.compare(rates, "a", "b")
    assert comparisons(report.path)["a / b"]["ratio"] == 3.0
    assert comparisons(report.path.with_name("absent.json")) == {}


def test_a_peer_plays_in_a_process_of_its_own():
    peer = Running(Peer("MPE2", "mpe2_spread_3"))
    rate = peer.play(0.05)
    peer.close()
    assert rate.wall > 0
    with pytest.raises(PeerError):
        peer.play(0.05)


def test_a_peer_that_cannot_be_run_is_named_with_the_reason(report):
    with running(report, [Peer("nobody", "nobody")]) as arms:
        assert arms == []
    assert kept(report)["missing"] == [{"what": "nobody", "why": "KeyError: 'nobody'"}]


def test_a_peer_that_does_not_install_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.peers.FOLDER", tmp_path)
    missing = tmp_path / "no_such_package.whl"
    with pytest.raises(PeerError, match="pip: "):
        interpreter(Peer("nobody", "nobody", str(missing)))


def test_scripts_are_legal_and_the_twin_lives_the_same_ticks():
    town = load_scenario("town_day")
    told = script(town, 30)[:, 0]
    batch, twin = WorldBatch(compile_plan(town), 1), Twin(town)
    batch.reset([SEED])
    for orders in told:
        masks = batch.views.action_mask[0]
        assert masks[np.arange(len(orders)), orders].all()
        step = batch.step(orders[None])
        np.testing.assert_allclose(twin.step(orders.tolist()), step.reward[0], atol=1e-5)
        np.testing.assert_array_equal(twin.seen[0], batch.views.map[0])
        np.testing.assert_array_equal(twin.mask, batch.views.action_mask[0])


def test_legal_actions_are_drawn_from_the_mask_alone():
    masks = np.array([[1, 0, 0, 1], [0, 1, 0, 0]], np.int8)
    rng = np.random.default_rng(0)
    drawn = np.array([legal(masks, rng) for _ in range(400)])
    assert set(drawn[:, 0]) == {0, 3}
    assert set(drawn[:, 1]) == {1}
    assert 150 < (drawn[:, 0] == 3).sum() < 250


LEAK = """
from benchmarks import memory

class Leaking(memory.TownletVectorEnv):
    kept = []

    def step(self, actions):
        if LEAKS:
            self.kept.append(bytes(range(256)) * 4096)
        return super().step(actions)

memory.TownletVectorEnv, memory.WARM_UP = Leaking, 20
print(memory.json.dumps(memory.weigh(64 * 20)))
"""


@pytest.mark.parametrize("leaks", [False, True])
def test_memory_that_is_kept_is_seen(leaks):
    program = f"LEAKS = {leaks}{LEAK}"
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    found = json.loads(ran.stdout)
    assert found["ticks"] == 64 * 20
    assert 8_000 < found["world"] <= 64 * 1024
    assert (found["grown"] >= 19 << 20) == leaks


def test_both_ways_to_two_cores_live_the_same():
    """By Python, for whom ``prange`` is ``range``: what is compared is who steps what."""
    live = getattr(threads.step_side_by_side, "py_func", threads.step_side_by_side)
    plan = compile_plan(load_scenario("town_day"))
    batch, other = WorldBatch(plan, 3), WorldBatch(plan, 3)
    batch.reset(range(3))
    other.reset(range(3))
    tables = [part.view(np.ndarray) for part in (other.worlds, other.outcomes, plan.rules)]
    rng = np.random.default_rng(0)
    for _ in range(5):
        orders = legal(batch.views.action_mask, rng).astype(np.int32)
        batch.step(orders)
        live(*tables, orders, other.grids, plan.ways, other.views)
    assert other.worlds.tobytes() == batch.worlds.tobytes()
    assert all(map(np.array_equal, other.views, batch.views))


def test_verdicts():
    more = Target("1", "a", "b", 100, 60, "x", lambda _: None)
    less = more._replace(target=2, floor=3, low=True)
    assert [verdict(more, value) for value in (100, 60, 59, None)] == [
        "met", "above the floor", "missed", "not measured",
    ]  # fmt: skip
    assert [verdict(less, value) for value in (2, 3, 3.1)] == ["met", "above the floor", "missed"]


def test_every_target_has_a_measurement():
    assert {int(target.number) for target in TARGETS} == set(range(1, 17))


def test_the_slowest_stage_decides_what_steps_cost():
    figures = scale.Figures(1e6, 1e5, 1e8, {"full": 100.0})
    here, many = (
        {plan.name: plan for plan in scale.plans(figures, site, 1e9)}
        for site in (scale.Site(), scale.Site(machines=100))
    )
    alone = here["simulate, keep nothing"]
    assert (alone.time, alone.bottleneck) == (1000.0, "environment")
    assert alone.money(scale.Site()) == pytest.approx(1000 / 3600 * 2 * 0.04)
    assert many["simulate, keep nothing"].time == 10.0
    learned = "capture (full), one machine learns"
    assert (here[learned].time, here[learned].bottleneck) == (10_000.0, "learner")
    assert many[learned].seconds == {
        "environment": 10.0, "disk": 10.0, "learner": 10_000.0, "network": 800.0,
    }  # fmt: skip
    assert many["train live, a learner of its own per machine"].time == 100.0
    slow = scale.plans(figures, scale.Site(machines=100, network=1e6), 1e9)
    assert {plan.bottleneck for plan in slow if "one machine learns" in plan.name} == {"network"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "250 ms"), (12, "12 s"), (90, "1.5 min"), (7200, "2 h")],
)
def test_durations(seconds, text):
    assert scale.duration(seconds) == text


def test_curves_are_drawn_from_zero():
    lines = {"hybrid": [[1, 16, 256], [1e5, 1e6, 2e6]]}
    drawn = plot({"name": "worlds", "x": "worlds", "y": "speed", "series": lines})
    axes = drawn.axes[0]
    assert axes.get_ylim()[0] == 0
    assert axes.lines[0].get_ydata().tolist() == [1e5, 1e6, 2e6]


def test_the_page_of_a_recording_is_measured(tmp_path, capsys):
    watching.main(ticks=30, rounds=1, seconds=0.2, out=tmp_path / "watching.json")
    figures = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "watching.json").read_text())["complete"] is True
    assert figures["ticks"]["value"] == 30
    assert figures["residents"]["value"] == 8
    for how in (watching.EMPTY, "play", "scrub"):
        assert figures[f"{how}: frame, 50 of 100"]["value"] > 0
    assert figures["page"]["value"] > 0.05
