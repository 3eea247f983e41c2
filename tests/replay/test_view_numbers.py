"""What the page says, read in Chromium, is what was recorded and what the town was."""

from __future__ import annotations

import math

import numpy as np
import pytest
from browser import looking_at
from mpe2 import simple_spread_v3
from town_captures import network_capture, script_capture, tiny_checkpoint

from townlet_env import townlet_v0
from townlet_replay import RecordReplay
from townlet_replay.manifest import load_capture
from townlet_replay.view.facts import facts_of
from townlet_replay.view.page import write_page

PAIRS = 20
NEEDS = ("hunger", "hygiene", "energy")
READ = """async ([tick, who]) => {
  const page = window.townlet, k = page.facts.agents.findIndex((agent) => agent.name === who);
  page.follow(k);
  page.goto(tick);
  await new Promise((done) => setTimeout(done, 200));
  const texts = (where) => [...document.querySelectorAll(where)].map((node) => node.textContent);
  return {
    clock: texts("#clock")[0],
    reward: texts("#rewards-title")[0],
    parts: texts("#components .number"),
    person: texts(".person .what")[k],
    bars: [...document.querySelectorAll(".person")[k].querySelectorAll(".bar i")].map(
      (bar) => Number(bar.style.transform.slice(7, -1))),
    detail: texts("#detail div:not([hidden])"),
  };
}"""


def number(text):
    return math.nan if text == "-" else float(text)


def near(text, value):
    """Whether a text of three digits is the value."""
    return number(text) == pytest.approx(float(value), rel=6e-3, abs=1e-9) or (
        abs(value) < 1e-3 and number(text) == pytest.approx(float(value), rel=6e-2)
    )


def drawn(samples, seed):
    """Some rows of some residents."""
    rng = np.random.default_rng(seed)
    for _ in range(PAIRS):
        sample = samples[int(rng.integers(len(samples)))]
        yield sample, int(rng.integers(sample.rows))


def check_row(seen, sample, row, *, town):
    """Compare what the page says of the look before a row, and of what was chosen there."""
    begin = int(sample.ticks[0])
    assert len(sample.ticks) == int(sample.ticks[-1]) - begin + 1
    said = seen["detail"]
    action = sample.meta.action_lookup.get(int(sample.actions[row]), str(sample.actions[row]))
    assert f"chooses {action.replace('_', ' ')}" in said
    chance = math.exp(float(sample.old_log_probs[row]))
    if not math.isnan(chance):
        assert f"probability of it {chance:.3f}" in said
    value = float(sample.value_preds[row])
    told = [line.removeprefix("value ") for line in said if line.startswith("value ")]
    assert len(told) == (0 if math.isnan(value) else 1)
    assert all(near(text, value) for text in told)
    if row:
        assert near(seen["reward"].split("reward ")[1].split(",")[0], sample.rewards[row - 1])
        total = float(np.sum(sample.rewards[:row], dtype=float))
        assert near(seen["reward"].split("so far ")[1], total)
        if town:
            parts = sample.extras["reward_components"][row - 1]
            assert len(parts) == len(seen["parts"])
            for text, part in zip(seen["parts"], parts, strict=True):
                assert near(text, part), (text, part)


@pytest.mark.parametrize("scenario", ["queue_conflict", "newcomer_arrival", "rush_hour"])
def test_a_page_of_a_town_says_what_was_recorded(browser, tmp_path, scenario):
    if scenario == "queue_conflict":
        network = tiny_checkpoint(tmp_path / "net.json")
        network_capture(scenario, tmp_path / "rows", network, logits=True)
    else:
        script_capture(scenario, tmp_path / "rows")
    capture = load_capture(tmp_path / "rows")
    first = capture.manifest.samples[0].episode_id
    samples = [
        capture.sample(index)
        for index, entry in enumerate(capture.manifest.samples)
        if entry.episode_id == first
    ]
    facts = facts_of(tmp_path / "rows")
    begin = min(int(sample.ticks[0]) for sample in samples)
    lived = relived(scenario, facts["seed"], samples, begin)
    page_file = write_page(facts, tmp_path / "watch.html")
    with looking_at(browser, page_file) as page:
        page.locator(".person").first.wait_for()
        for sample, row in drawn(samples, 4):
            name, tick = sample.meta.agent_id, int(sample.ticks[row]) - begin
            seen = page.evaluate(READ, [tick, name])
            assert seen["clock"].startswith(f"tick {tick} of {facts['ticks'] - 1}")
            check_row(seen, sample, row, town=True)
            needs, wallet = lived[tick][name]
            assert seen["bars"] == pytest.approx(needs, abs=0.0051)
            assert seen["person"].endswith(f", {wallet:.1f} meals")
            told = seen["detail"][0]
            for need, value in zip(NEEDS, needs, strict=True):
                shown = float(told.split(f"{need} ")[1].split(",")[0].split(";")[0])
                assert shown == pytest.approx(value, abs=0.0051)
            assert float(told.split("; ")[1].split(" ")[0]) == pytest.approx(wallet, abs=0.0051)


def relived(scenario, seed, samples, begin):
    """Needs and wallets of everybody at every look, from a town of its own."""
    env = townlet_v0.parallel_env(scenario)
    env.reset(seed=seed)
    chosen = {
        (int(tick) - begin, sample.meta.agent_id): int(action)
        for sample in samples
        for tick, action in zip(sample.ticks, sample.actions, strict=True)
    }
    looks = []
    while True:
        world, slots = env.batch.worlds[0], env.slots
        looks.append(
            {
                name: (world.needs[slot].tolist(), float(world.wallet[slot]))
                for name, slot in slots.items()
            }
        )
        if not env.agents:
            return looks
        env.step({name: chosen[len(looks) - 1, name] for name in env.agents})


def test_a_page_of_rows_says_what_was_recorded(browser, tmp_path):
    rng = np.random.default_rng(0)
    env = simple_spread_v3.parallel_env(max_cycles=25)
    with RecordReplay(env, tmp_path / "rows") as recorder:
        recorder.reset(seed=1)
        while recorder.agents:
            recorder.annotate(values={agent: float(rng.normal()) for agent in recorder.agents})
            recorder.step({agent: int(rng.integers(5)) for agent in recorder.agents})
    capture = load_capture(tmp_path / "rows")
    samples = [capture.sample(index) for index in range(len(capture.manifest.samples))]
    with looking_at(browser, write_page(facts_of(tmp_path / "rows"), tmp_path / "w.html")) as page:
        page.locator(".person").first.wait_for()
        for sample, row in drawn(samples, 5):
            tick = int(sample.ticks[row] - sample.ticks[0])
            seen = page.evaluate(READ, [tick, sample.meta.agent_id])
            check_row(seen, sample, row, town=False)
            observed = seen["detail"][-1].removeprefix("observes ").split()
            flat = np.concatenate([column[row].ravel() for column in sample.observations.values()])
            assert len(observed) == len(flat)
            assert all(near(text, value) for text, value in zip(observed, flat, strict=True))
