"""Names that are read once for many sidecars are those of each of them, and hide nothing bad."""

import json
import re

import pytest
from capture_toys import life
from hypothesis import given, settings
from hypothesis import strategies as st

from townlet_replay.errors import CaptureError
from townlet_replay.safe_files import check_json, to_json
from townlet_replay.sidecar import SampleMeta, read_document, write_document
from townlet_replay.sidecar_reader import SidecarReader


@pytest.fixture
def reader():
    """A reader that knows the names of the lives below."""
    reader = SidecarReader()
    reader.read(write_document(life("zoe").meta), "zoe.json")
    return reader


def text(**changes):
    """Return an unsealed sidecar."""
    return to_json(life("anna").meta.model_copy(update=changes))


def test_names_are_shared_and_all_else_is_the_sample_s_own(reader):
    ben = life("ben", episode=3, rows=4).meta
    found = reader.read(write_document(ben), "ben.json")
    assert found == ben
    again = reader.read(write_document(life("anna").meta), "anna.json")
    assert again == life("anna").meta
    assert again.feature_names is found.feature_names
    assert again.action_lookup is found.action_lookup


def test_other_names_are_seen(reader):
    other = life("ben").meta.model_copy(update={"feature_names": ("x", "y", "z", "w")})
    for _ in range(2):
        assert reader.read(write_document(other), "ben.json") == other
        assert reader.read(write_document(life().meta), "x.json") == life().meta


def test_the_layout_does_not_matter(reader):
    value = json.loads(text())
    turned = dict(reversed(value.items()))
    for document in (value, turned):
        for indent in (None, 0, 1):
            data = json.dumps(document, indent=indent).encode()
            assert reader.read(data, "x.json") == life("anna").meta


BAD = {
    "a key twice": text().replace(b'"timesteps":', b'"feature_names": null,\n"timesteps":'),
    "a key twice, far away": text().replace(b'"digests":', b'"action_lookup": {},\n"digests":'),
    "an unknown key": text().replace(b'"timesteps":', b'"entry_point": "os:system",\n"timesteps":'),
    "a text over two lines": text().replace(b'"agent_id": "anna",', b'"agent_id": "an\nna",'),
    "no comma before": text().replace(b'"episode_id": 0,\n', b'"episode_id": 0\n'),
    "a key without value before": text().replace(b'"episode_id": 0,\n', b'"episode_id":\n'),
    "no end": text()[:-3],
    "two ends": text() + b"}",
    "NaN": text().replace(b'"timesteps": 5', b'"timesteps": NaN'),
    "another version": text(schema_version="9.0"),
    "another kind of number": text().replace(b'"timesteps": 5', b'"timesteps": 5.5'),
    "a seal that does not fit": write_document(life("anna").meta).replace(b'"anna"', b'"eve"'),
    "names inside of something else": text().replace(b'"agent_id"', b'"tags": [{\n"agent_id"'),
    "names at the wrong place": b"[\n" + text()[2:],
    "a key twice in metrics": text().replace(b'"reward_sum":', b'"late_shifts": 2, "late_shifts":'),
    "a key twice, spaced": text().replace(b'"timesteps": 5', b'"timesteps" : 5,\n"timesteps": 5'),
    "a name twice in a table": text().replace(
        b'"digests": {', b'"digests": {"npz": "", "npz": "",'
    ),
    "an action counted twice": text().replace(
        b'"action_counts": {', b'"action_counts": {"a": 1, "a": 1, '
    ),
    "20 digits": text().replace(b'"seed": null', b'"seed": 12345678901234567890'),
    "19 digits too many": text().replace(b'"seed": null', b'"seed": 9223372036854775808'),
    "19 digits below": text().replace(b'"seed": null', b'"seed": -9223372036854775809'),
    "a sum of 20 digits": re.sub(rb'"reward_sum": [^,]+', b'"reward_sum": 1' + b"0" * 19, text()),
    "a key twice, once in escapes": text().replace(
        b'"seed": null', b'"seed": null, "se\\u0065d": null'
    ),
    "infinite": text().replace(b'"rivalry_max_max": ', b'"rivalry_max_max": 1e999, "x":'),
    "not UTF-8": text().replace(b'"anna"', b'"ann\xff"'),
    "a number with a zero before": text().replace(b'"seed": null', b'"seed": 07'),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_bad_is_refused_in_the_same_words(reader, kind):
    assert BAD[kind] not in (text(), write_document(life("anna").meta))
    with pytest.raises(CaptureError) as expected:
        read_document(SampleMeta, BAD[kind], "x.json")
    for who in (reader, SidecarReader()):
        with pytest.raises(CaptureError) as caught:
            who.read(BAD[kind], "x.json")
        assert str(caught.value) == str(expected.value)


def test_names_that_were_bad_are_not_kept():
    reader = SidecarReader()
    bad = text().replace(b'"map_channels": null', b'"map_channels": 7')
    assert bad != text()
    for _ in range(2):
        with pytest.raises(CaptureError, match="map_channels"):
            reader.read(bad, "x.json")


def test_nesting_is_counted_over_any_distance():
    deep, flat = {"a": 1}, []
    for _ in range(62):
        deep = {"k": "[[" * 20_000, "b": deep}
    flat = [["]" * 70, '"\\[{'] for _ in range(10_000)]
    document = {"flat": flat, "deep": deep}
    assert check_json(json.dumps(document).encode(), "x") == document
    with pytest.raises(CaptureError, match="nested deeper than 64"):
        check_json(json.dumps({"flat": flat, "deep": [[deep]]}).encode(), "x")


def outcome(read, data):
    try:
        return read(data, "x.json")
    except CaptureError as error:
        return str(error)


@settings(max_examples=1000, deadline=None)
@given(st.data())
def test_no_change_of_a_few_bytes_is_read_otherwise(data):
    """Of any kind: bytes replaced, and parts of the document left out, doubled or moved."""
    lines = SidecarReader()
    lines.read(write_document(life("zoe").meta), "zoe.json")
    good = text()
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(len(good), start + 60)))
    other = data.draw(st.integers(0, len(good)))
    piece = data.draw(
        st.sampled_from([b"", good[start:end] * 2, good[other : other + end - start], b'"a": 1,'])
        | st.binary(max_size=3)
        | st.sampled_from([b'"', b"\\", b"{", b"}", b"]", b" ", b"1" * 19, b"null", b",", b":"])
    )
    bad = good[:start] + piece + good[end:]
    expected = outcome(lambda content, where: read_document(SampleMeta, content, where), bad)
    assert outcome(lines.read, bad) == expected


@pytest.mark.parametrize("seed", [2**63 - 1, -(2**63), 10**18, 0])
def test_numbers_of_64_bits_are_read(reader, seed):
    origin = life().meta.capture_metadata.model_copy(update={"seed": seed})
    data = text(capture_metadata=origin)
    assert reader.read(data, "x.json").capture_metadata.seed == seed
