"""HDF5 and flat NPZ files as a stranger would forge them: one kind of error, before memory goes."""

import io
import json
import zipfile

import h5py
import numpy as np
import pytest
from capture_toys import life
from exchange_toys import as_lives

from townlet_replay.errors import CaptureError
from townlet_replay.exchange import minari, npz
from townlet_replay.exchange.hdf5 import open_hdf5
from townlet_replay.sample import same_sample

LIVES = [life("anna", rows=3), life("ben", 1, rows=4, dies=True)]


@pytest.fixture
def minari_set(tmp_path):
    minari.write(as_lives(LIVES), tmp_path / "data-v0")
    return tmp_path / "data-v0"


def read_minari(source):
    return list(minari.read(source).samples)


def swap(file, path, make):
    """Put something else in the place of an array."""
    old = file[path][()]
    del file[path]
    make(file, path, old)


def external_link(file, path, old):
    file[path] = h5py.ExternalLink("/etc/hostname", "/rewards")


def soft_link(file, path, old):
    file[path] = h5py.SoftLink("/episode_1/rewards")


def external_storage(file, path, old):
    file.create_dataset(path, old.shape, old.dtype, external=[("/etc/hostname", 0, 12)])


def virtual(file, path, old):
    layout = h5py.VirtualLayout(old.shape, old.dtype)
    layout[:] = h5py.VirtualSource("/etc/hostname", "rewards", old.shape)
    file.create_virtual_dataset(path, layout)


def never_written(file, path, old):
    file.create_dataset(path, (2**33,), old.dtype, chunks=(2**20,))


def tiny_but_wide(file, path, old):
    zeros = np.zeros(20 * 2**20, np.float32)
    file.create_dataset(path, data=zeros, chunks=(2**20,), compression="gzip")


def huge_chunk(file, path, old):
    file.create_dataset(
        path, old.shape, old.dtype, chunks=(2**28,), maxshape=(None,), compression="gzip"
    )


def unknown_filter(file, path, old):
    file.create_dataset(path, data=np.zeros(4096, np.int32), chunks=(4096,), scaleoffset=4)


def texts(file, path, old):
    file.create_dataset(path, data=["a", "b", "c"], dtype=h5py.string_dtype())


def pairs(file, path, old):
    file.create_dataset(path, data=np.zeros(3, [("a", "f4"), ("b", "f4")]))


def references(file, path, old):
    file.create_dataset(path, data=[file.ref] * 3, dtype=h5py.ref_dtype)


def ragged(file, path, old):
    file.create_dataset(path, (3,), h5py.vlen_dtype(np.uint8))


def empty(file, path, old):
    file.create_dataset(path, data=h5py.Empty("f4"))


def a_group(file, path, old):
    file.create_group(path)


def nothing(file, path, old):
    pass


def no_rows(file, path, old):
    file.create_dataset(path, data=old[:0])


def other_endian(file, path, old):
    file.create_dataset(path, data=old.astype(">f4"))


FORGERIES = [
    (external_link, "links are not followed"),
    (soft_link, "links are not followed"),
    (external_storage, "in other files, which are not read"),
    (virtual, "in other files, which are not read"),
    (never_written, "34359738368 bytes, in 0 bytes of the file"),
    (tiny_but_wide, "that is more than is unpacked"),
    (huge_chunk, "that is more than is unpacked"),
    (unknown_filter, "packed by the filters [6]"),
    (texts, "has dtype object"),
    (pairs, "has dtype"),
    (references, "has dtype object"),
    (ragged, "has dtype object"),
    (empty, "has dtype float32"),
    (a_group, "not an array"),
    (nothing, "missing"),
    (no_rows, "rewards has shape [0]"),
]


@pytest.mark.parametrize(("make", "said"), FORGERIES, ids=[f.__name__ for f, _ in FORGERIES])
def test_forged_hdf5_is_refused(minari_set, make, said):
    with h5py.File(minari_set / "data" / "main_data.hdf5", "a") as file:
        swap(file, "episode_0/rewards", make)
    with pytest.raises(CaptureError) as caught:
        read_minari(minari_set)
    assert said in str(caught.value)
    assert "main_data.hdf5: episode_0/rewards" in str(caught.value)


def test_another_byte_order_is_read(minari_set):
    with h5py.File(minari_set / "data" / "main_data.hdf5", "a") as file:
        swap(file, "episode_0/rewards", other_endian)
    assert all(same_sample(a, b) for a, b in zip(LIVES, read_minari(minari_set), strict=True))


def test_many_arrays_that_were_never_written_are_refused(tmp_path):
    path = tmp_path / "many.hdf5"
    with h5py.File(path, "w") as file:
        for index in range(1000):
            file.create_dataset(f"a{index}", (2**21,), "f8", chunks=(2**16,))
    with open_hdf5(path) as file:
        read = [file.array(f"a{index}").nbytes for index in range(2)]
        with pytest.raises(CaptureError, match="more than is unpacked"):
            [file.array(f"a{index}") for index in range(2, 100)]
    assert read == [2**24] * 2


@pytest.mark.parametrize(
    "value",
    [np.arange(4), 1.5, h5py.Empty("i8"), "7", np.zeros((), [("a", "i4")])],
    ids=["array", "float", "empty", "text", "pairs"],
)
def test_an_attribute_that_is_no_number_is_refused(minari_set, value):
    with h5py.File(minari_set / "data" / "main_data.hdf5", "a") as file:
        del file["episode_0/infos/sidecar"]  # a stranger's: its attributes are asked
        file["episode_0"].attrs["seed"] = value
    with pytest.raises(CaptureError, match="the attribute 'seed' of episode_0 is"):
        read_minari(minari_set)


@pytest.mark.parametrize("value", [7, "x" * 5000, np.bytes_("x" * 5000), ["a"]], ids=type)
def test_an_attribute_that_is_no_short_text_is_refused(minari_set, value):
    with h5py.File(minari_set / "data" / "main_data.hdf5", "a") as file:
        file["episode_0"].attrs["agent_id"] = value
    with (
        open_hdf5(minari_set / "data" / "main_data.hdf5") as file,
        pytest.raises(CaptureError, match="the attribute 'agent_id' of episode_0 is"),
    ):
        file.text("episode_0", "agent_id")


def metadata_of(minari_set, **changes):
    path = minari_set / "data" / "metadata.json"
    metadata = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in metadata.items() if v is not None}))


def nested(kind, depth):
    return (
        json.dumps({"type": "Box"})
        if not depth
        else json.dumps({"type": kind, "subspaces": [json.loads(nested(kind, depth - 1))]})
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        # Minari would make the environment, and so import what the file names.
        (
            {"observation_space": None, "env_spec": json.dumps({"entry_point": "os:system"})},
            "expected a space. Minari would build the environment",
        ),
        ({"action_space": "{"}, "action_space: not JSON"),
        ({"action_space": "[" * 100_000}, "action_space: not JSON"),
        ({"action_space": "[1]"}, "expected a space"),
        ({"action_space": '{"type": "Discrete", "n": 1e9}'}, "Discrete of 1000000000.0 ids"),
        ({"action_space": f'{{"type": "Discrete", "n": {10**9}}}'}, "Discrete of 1000000000 ids"),
        ({"action_space": '{"type": "Text"}'}, "a space of type 'Text'"),
        ({"observation_space": '{"type": "Box", "shape": [-1]}'}, "the shape [-1] of a Box"),
        ({"observation_space": '{"type": "Box", "shape": "ab"}'}, "the shape 'ab' of a Box"),
        ({"observation_space": '{"type": "Box"}'}, "the shape None of a Box"),
        ({"observation_space": '{"type": ["Box"]}'}, "a space of type ['Box']"),
        ({"observation_space": '{"type": "MultiDiscrete", "nvec": [[1], 2]}'}, "ragged nvec"),
        ({"observation_space": nested("Tuple", 20)}, "a space of type 'Tuple'"),
        (
            {"observation_space": '{"type": "Dict", "subspaces": {"../x": {"type": "Discrete"}}}'},
            "episode_0/observations/../x: missing",
        ),
        ({"total_episodes": 0}, "total_episodes is 0"),
        ({"total_episodes": 10**12}, "episode_2"),
        ({"townlet": {"schema_version": "9"}}, "schema_version is '9'"),
    ],
)
def test_forged_metadata_are_refused(minari_set, changes, said):
    metadata_of(minari_set, **changes)
    with pytest.raises(CaptureError) as caught:
        read_minari(minari_set)
    assert said in str(caught.value)


def test_a_link_in_place_of_the_file_is_refused(minari_set, tmp_path):
    path = minari_set / "data" / "main_data.hdf5"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CaptureError, match=r"main_data\.hdf5: cannot be opened"):
        read_minari(minari_set)


def test_cut_files_and_flipped_bits_are_refused_or_change_nothing(minari_set):
    path = minari_set / "data" / "main_data.hdf5"
    whole = path.read_bytes()
    rng = np.random.default_rng(3)
    said = []
    for position in rng.integers(1, len(whole), 100):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << int(rng.integers(8))
        for broken in (whole[:position], bytes(flipped)):
            path.write_bytes(broken)
            try:
                found = read_minari(minari_set)
                assert all(same_sample(a, b) for a, b in zip(LIVES, found, strict=True))
            except CaptureError as error:
                said.append(str(error))
    assert len(said) > 120  # every cut one, and others
    assert all(str(minari_set) in message for message in said)


@pytest.fixture
def flat(tmp_path):
    npz.write(as_lives(LIVES), tmp_path / "flat.npz")
    with np.load(tmp_path / "flat.npz") as arrays:
        return dict(arrays)


def words(arrays, **changes):
    document = json.loads(arrays["segment_sidecars"].tobytes()) | changes
    return np.frombuffer(json.dumps(document).encode(), np.uint8)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: {"segment_starts": None}, "no array 'segment_starts'"),
        (lambda a: {"segment_sidecars": None}, "no array 'segment_sidecars'"),
        (lambda a: {"segment_sidecars": np.zeros(4)}, "segment_sidecars is float64[4]"),
        (lambda a: {"segment_sidecars": words(a, sidecars=[])}, "0 lives"),
        (lambda a: {"segment_sidecars": words(a, more=1)}, "more: Extra inputs"),
        (lambda a: {"segment_starts": np.array([0, 2])}, "segment_starts are [0, 2]"),
        (lambda a: {"segment_starts": np.array([0.0, 3.0])}, "segment_starts are [0.0, 3.0]"),
        (lambda a: {"segment_starts": np.array(0)}, "segment_starts are 0"),
        (lambda a: {"rewards": a["rewards"][:-1]}, "rewards has shape [6], expected 7 rows"),
        (lambda a: {"rewards": None}, "no array 'rewards'"),
        (lambda a: {"final_features": a["final_features"][:1]}, "expected 2 rows"),
        (lambda a: {"other": np.zeros(7)}, "'features', 'other'"),
        (lambda a: {"segment_has_rewards": np.array([True, False])}, "expected 7 rows"),
        (
            lambda a: {
                "policy_version": np.zeros(7, np.int64),
                "segment_has_policy_version": np.ones((2, 2), bool),
            },
            "segment_has_policy_version is bool[2, 2], expected bool[2]",
        ),
    ],
)
def test_forged_flat_files_are_refused(flat, change, said, tmp_path):
    arrays = {**flat, **change(flat)}
    path = tmp_path / "forged.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(CaptureError) as caught:
        list(npz.read(path).samples)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_pickles_in_a_flat_file_are_refused(flat, tmp_path):
    path = tmp_path / "pickle.npz"
    np.savez(path, **flat, extra=np.array([{"a": 1}], object))
    with pytest.raises(CaptureError, match="not a plain array"):
        npz.read(path)


def test_a_flat_file_that_unpacks_too_far_is_refused(flat, tmp_path):
    path = tmp_path / "bomb.npz"
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(2**26, np.uint8))
    np.savez(path, **flat)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("other.npy", buffer.getvalue())
    with pytest.raises(CaptureError, match="claim to hold"):
        npz.read(path)
