"""Captures of any lives that go into one data set, drawn by hypothesis."""

from __future__ import annotations

import numpy as np
from capture_toys import DTYPES, LOOKUP, any_bits, floats32, plain_keys, texts, with_metrics
from hypothesis import strategies as st

from townlet_replay.exchange import exchange_format
from townlet_replay.exchange.lives import Lives, lives_of, write_capture
from townlet_replay.manifest import load_capture
from townlet_replay.sample import ReplaySample, same_sample
from townlet_replay.sidecar import Behaviour, CaptureMetadata, SampleMeta

COMPONENTS = ("rent", "food")


@st.composite
def alike_lives(draw, *, smallest=0):
    """Lives of one data set: any dtypes, shapes and bits, any extras, three kinds of actions."""
    shapes = st.lists(st.integers(smallest, 3), max_size=3).map(tuple)
    columns = {
        key: (draw(st.sampled_from(DTYPES)), draw(shapes))
        for key in draw(st.lists(plain_keys, min_size=1, max_size=3, unique=True))
    }
    kind = draw(st.sampled_from(["ids", "masked ids", "float32", "int64"]))
    components = draw(st.sampled_from([None, COMPONENTS]))
    seeds = draw(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4))
    return [draw(life_of(columns, kind, components, seed)) for seed in seeds]


@st.composite
def life_of(draw, columns, kind, components, seed):
    """One life with these observations and actions."""
    rng, rows = np.random.default_rng(seed), draw(st.integers(1, 5))
    discrete = kind.endswith("ids")
    width = len(LOOKUP) if discrete else 2
    mask = None
    actions = rng.integers(0, width, rows) if discrete else any_bits(rng, kind, (rows, width))
    if kind == "masked ids":
        mask = rng.integers(0, 2, (rows, width), np.int8)
        mask[np.arange(rows), actions] = 1
    died = draw(st.booleans())
    values = draw(floats32(rows + 1, allow_infinity=False))
    values[-1] = 0 if died else values[-1]
    last = np.arange(rows) == rows - 1
    possible = {
        "policy_log_probs": any_bits(rng, np.float32, rows),
        "behaviour_logits": any_bits(rng, np.float32, (rows, width)),
        "intent_actions": actions[::-1].copy(),
        "policy_version": any_bits(rng, np.int64, rows),
        "final_action_mask": rng.integers(0, 2, width, np.int8),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(possible))))
    extras = {name: possible[name] for name in sorted(chosen)}
    if components:
        extras["reward_components"] = rng.normal(size=(rows, len(components))).astype(np.float32)
    return with_metrics(
        ReplaySample(
            observations={k: any_bits(rng, d, (rows, *s)) for k, (d, s) in columns.items()},
            action_mask=mask,
            actions=actions,
            rewards=draw(floats32(rows, allow_nan=False, allow_infinity=False)),
            terminations=last & died,
            truncations=last & (not died or draw(st.booleans())),
            old_log_probs=draw(floats32(rows, max_value=0, allow_infinity=False)),
            value_preds=values,
            ticks=any_bits(rng, np.int32, rows),
            final_observation={k: any_bits(rng, d, s) for k, (d, s) in columns.items()},
            extras=extras,
            meta=SampleMeta(
                agent_id=draw(texts),
                episode_id=draw(st.integers(0, 99)),
                reward_components=components,
                action_lookup=LOOKUP if discrete else {},
                action_dim=width,
                timesteps=rows,
                value_pred_steps=rows + 1,
                behaviour=Behaviour(kind=draw(st.sampled_from(["policy", "mixed", "unknown"]))),
                tags=tuple(draw(st.lists(texts, max_size=2))),
                capture_metadata=CaptureMetadata(seed=draw(st.integers(-(2**63), 2**63 - 1))),
            ),
        )
    )


def as_lives(samples, metadata=None):
    return Lives(metadata or CaptureMetadata(), len(samples), iter(samples))


def survives(name, samples, output):
    """Write and read back in a format: the same bits, names and sidecars, in the same order?"""
    module = exchange_format(name)
    metadata = CaptureMetadata(scenario_name="any", seed=3)
    module.write(as_lives(samples, metadata), output)
    found = module.read(output)
    back = list(found.samples)
    return (
        found.metadata == metadata
        and found.count == len(back) == len(samples)
        and all(same_sample(one, other) for one, other in zip(samples, back, strict=True))
    )


def there_and_back(name, capture, place):
    """Export a capture, import it again, and return the directory of the new one."""
    module, output = exchange_format(name), place / "out-v0"
    module.write(lives_of(load_capture(capture)), output)
    write_capture(module.read(output), place / "back")
    return place / "back"
