"""Parquet files of a capture: what pyarrow alone finds in them, and which are refused."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from capture_toys import life, with_metrics
from exchange_toys import as_lives, survives
from toy_samples import script_sample

from townlet_replay.errors import CaptureError
from townlet_replay.exchange import parquet
from townlet_replay.sample import same_sample

LIVES = [life("anna", rows=3), life("ben", 1, rows=4, dies=True)]


@pytest.fixture
def data(tmp_path):
    parquet.write(as_lives(LIVES), tmp_path / "data")
    return tmp_path / "data"


def all_of(source):
    return list(parquet.read(source).samples)


def test_a_row_is_a_step_and_a_row_group_a_life(data):
    steps = pq.ParquetFile(data / "steps.parquet")
    assert [steps.metadata.row_group(i).num_rows for i in range(2)] == [3, 4]
    table = steps.read()
    assert table["agent_id"].to_pylist() == ["anna"] * 3 + ["ben"] * 4
    assert table["episode_id"].to_pylist() == [0] * 3 + [1] * 4
    assert table["life"].to_pylist() == [0] * 3 + [1] * 4
    assert table["row"].to_pylist() == [0, 1, 2, 0, 1, 2, 3]
    for name in ("actions", "rewards", "terminations", "truncations", "ticks", "old_log_probs"):
        wanted = np.concatenate([getattr(sample, name) for sample in LIVES])
        assert np.array_equal(table[name].to_numpy(), wanted)
        assert table[name].to_numpy().dtype == wanted.dtype
    features = np.concatenate([sample.observations["features"] for sample in LIVES])
    assert table.schema.field("observation.features").type == pa.list_(pa.float32(), 4)
    assert table["observation.features"].to_pylist() == features.tolist()
    masks = np.concatenate([sample.action_mask for sample in LIVES])
    assert table["action_mask"].to_pylist() == masks.tolist()


def test_a_row_of_lives_has_what_steps_cannot_have(data):
    lives = pq.read_table(data / "lives.parquet")
    assert lives["agent_id"].to_pylist() == ["anna", "ben"]
    assert lives["rows"].to_pylist() == [3, 4]
    assert lives["final_value"].to_pylist() == [0.75, 0.0]
    assert lives["final_observation.features"].to_pylist() == [[1.0] * 4] * 2
    assert json.loads(lives["sidecar"][1].as_py())["agent_id"] == "ben"


def test_shapes_stand_in_the_schema(tmp_path):
    parquet.write(as_lives([script_sample()]), tmp_path / "data")
    metadata = pq.read_schema(tmp_path / "data" / "steps.parquet").metadata
    column = json.loads(metadata[b"townlet"])["columns"]["observation.map"]
    shape = list(script_sample().observations["map"].shape[1:])
    assert column == {"dtype": "uint8", "shape": shape}


def test_an_array_that_comes_late_is_unknown_before(tmp_path):
    rich = replace(LIVES[0], extras={"policy_version": np.arange(3)})
    parquet.write(as_lives([LIVES[1], rich, LIVES[1]]), tmp_path / "data")
    steps = pq.ParquetFile(tmp_path / "data" / "steps.parquet")
    assert steps.num_row_groups == 3
    assert steps.read()["policy_version"].to_pylist() == [-1] * 4 + [0, 1, 2] + [-1] * 4
    lives = pq.read_table(tmp_path / "data" / "lives.parquet")
    assert lives["has_policy_version"].to_pylist() == [False, True, False]
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        "lives.parquet",
        "steps.parquet",
    ]


@pytest.mark.parametrize("name", ["minari", "npz", "parquet"])
def test_data_that_pack_like_a_bomb_come_back(name, tmp_path):
    still = script_sample(rows=80)
    still.observations["map"] = np.zeros((80, 2**18), np.uint8)
    still.final_observation["map"] = np.zeros(2**18, np.uint8)
    assert survives(name, [with_metrics(still)], tmp_path / "still-v0")


def rewrite(path, change):
    """Write a file again, its row groups and metadata changed."""
    with pq.ParquetFile(path) as file:
        groups = [file.read_row_group(i) for i in range(file.num_row_groups)]
    groups = change(groups)
    with pq.ParquetWriter(path, groups[0].schema) as writer:
        for group in groups:
            writer.write_table(group)


def layout(table, **columns):
    metadata = json.loads(table.schema.metadata[b"townlet"])
    metadata["columns"] |= columns
    return table.replace_schema_metadata({"townlet": json.dumps(metadata)})


def with_null(table):
    index = table.schema.get_field_index("rewards")
    return table.set_column(index, "rewards", pa.array([None] * table.num_rows, pa.float32()))


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("steps", lambda g: [t.replace_schema_metadata({}) for t in g], "not of a capture"),
        ("steps", lambda g: [t.drop_columns(["rewards"]) for t in g], "rewards is missing"),
        ("steps", lambda g: g[:1], "1 row groups, but lives.parquet has 2 lives"),
        ("steps", lambda g: g[::-1], "expected float32[3]"),
        ("steps", lambda g: [with_null(t) for t in g], "rewards has gaps"),
        (
            "steps",
            lambda g: [layout(t, rewards={"dtype": "float64", "shape": []}) for t in g],
            "rewards is float, expected double",
        ),
        (
            "steps",
            lambda g: [layout(t, rewards={"dtype": "object", "shape": []}) for t in g],
            "columns.rewards.dtype: Input should be 'bool'",
        ),
        (
            "steps",
            lambda g: [layout(t, huge={"dtype": "int8", "shape": [0, 2**60]}) for t in g],
            "observations have the keys ['features', 'huge']",
        ),
        (
            "lives",
            lambda g: [layout(t, final_value={"dtype": "float32", "shape": [2**40]}) for t in g],
            "value too large",
        ),
        ("lives", lambda g: [g[0].slice(0, 1), g[0].slice(1, 1)], "2 row groups, expected 1"),
    ],
)
def test_what_is_not_of_a_capture_is_refused(data, file, change, said):
    rewrite(data / f"{file}.parquet", change)
    with pytest.raises(CaptureError) as caught:
        all_of(data)
    assert said in str(caught.value)
    assert str(data) in str(caught.value)


def test_a_bomb_is_refused_unread(data):
    steps = pq.read_table(data / "steps.parquet")
    many = pa.concat_tables([steps.slice(0, 1)] * 200_000).combine_chunks()
    wide = {"dtype": "uint8", "shape": [100]}
    many = layout(many, wide=wide).append_column(
        "wide", pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(20_000_000, np.uint8)), 100)
    )
    many = many.replace_schema_metadata(layout(steps, wide=wide).schema.metadata)
    with pq.ParquetWriter(data / "steps.parquet", many.schema, compression="zstd") as writer:
        writer.write_table(many, row_group_size=many.num_rows)
    with pytest.raises(CaptureError, match="bytes claim to hold"):
        all_of(data)


def test_rows_of_nothing_are_refused_unread(data):
    lives = pq.read_table(data / "lives.parquet", columns=["sidecar"])
    metadata = json.loads(lives.schema.metadata[b"townlet"]) | {"columns": {}}
    many = pa.table({"sidecar": pa.array(["{}"] * 4_000_000)})
    many = many.replace_schema_metadata({"townlet": json.dumps(metadata)})
    pq.write_table(many, data / "lives.parquet", row_group_size=len(many))
    with pytest.raises(CaptureError, match="bytes claim to hold 32000000"):
        all_of(data)


def test_a_text_that_comes_again_and_again_takes_no_more_memory(data):
    lives = pq.read_table(data / "lives.parquet")
    lives = pa.concat_tables([lives.slice(0, 1)] * 300)
    index = lives.schema.get_field_index("sidecar")
    lives = lives.set_column(index, "sidecar", pa.array(["x" * 2**20] * 300))
    pq.write_table(lives, data / "lives.parquet", row_group_size=300)
    tracemalloc.start()
    with pytest.raises(CaptureError, match=r"but lives\.parquet has 300 lives"):
        all_of(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * 2**20


def test_lists_longer_than_the_schema_says_are_refused(data):
    path = data / "steps.parquet"
    honest = pq.read_metadata(path).metadata[b"ARROW:schema"]
    steps = pq.read_table(path)
    index = steps.schema.get_field_index("observation.features")
    long = pa.array([[0.5] * 400] * 7, pa.list_(pa.float32()))
    forged = steps.set_column(index, "observation.features", long)
    with pq.ParquetWriter(path, forged.schema, store_schema=False) as writer:
        writer.add_key_value_metadata({b"ARROW:schema": honest, **steps.schema.metadata})
        for part in (forged.slice(0, 3), forged.slice(3)):
            writer.write_table(part)
    with pytest.raises(CaptureError, match="Expected all lists to be of size=4"):
        all_of(data)


@pytest.mark.parametrize("name", ["steps.parquet", "lives.parquet"])
def test_a_flipped_bit_is_refused_or_changes_nothing(data, name):
    rng = np.random.default_rng(1)
    whole = (data / name).read_bytes()
    refused = 0
    for position in rng.integers(0, len(whole), 200):
        broken = bytearray(whole)
        broken[position] ^= 1 << int(rng.integers(8))
        (data / name).write_bytes(broken)
        try:
            assert all(same_sample(a, b) for a, b in zip(LIVES, all_of(data), strict=True))
        except CaptureError as error:
            refused += str(data) in str(error)
    assert refused > 30  # how many do depends on the versions and digests in the file
