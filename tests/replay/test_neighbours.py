"""Captures that share a directory leave each other's files alone."""

import pytest
from capture_toys import life

from townlet_replay.errors import CaptureError, DiskError
from townlet_replay.manifest import load_capture
from townlet_replay.sample import same_sample
from townlet_replay.writer import CaptureWriter, WriterSettings


def write(folder, prefix, agent, **settings):
    with CaptureWriter(folder, WriterSettings(prefix=prefix, **settings)) as writer:
        writer.write_episode([life(agent)])


def found(folder, prefix):
    (sample,) = load_capture(folder / f"{prefix}_manifest.json")
    return sample


@pytest.mark.parametrize("journal", [False, True])
@pytest.mark.parametrize(
    ("one", "other"), [(("a", "b_c"), ("a_b", "c")), (("a_b", "c"), ("a", "b_c"))]
)
def test_a_name_that_two_captures_would_give(tmp_path, monkeypatch, one, other, journal):
    write(tmp_path, *one)
    with CaptureWriter(tmp_path, WriterSettings(prefix=other[0])) as writer:
        if journal:
            monkeypatch.setattr("townlet_replay.writer.SHORT", 0)
            writer.write_episode([life("dan")] * 8)
        with pytest.raises(CaptureError, match=r"a_b_c_000\.(npz|json): is there already, from"):
            writer.write_episode([life(other[1], rows=7)])
        writer.write_episode([life("eve", 1)])
    assert same_sample(found(tmp_path, one[0]), life(one[1]))
    assert [s.meta.agent_id for s in load_capture(tmp_path / f"{other[0]}_manifest.json")][
        -1
    ] == "eve"


def test_neighbours_with_other_names(tmp_path):
    write(tmp_path, "a", "c")
    write(tmp_path, "a_b", "c")
    write(tmp_path, "a_b", "c", overwrite=True)
    assert same_sample(found(tmp_path, "a"), life("c"))
    assert same_sample(found(tmp_path, "a_b"), life("c"))


def test_own_files_of_a_write_that_failed_are_no_neighbours(tmp_path, monkeypatch):
    """The disk refuses after the first files have their names."""
    from townlet_replay import writer as module

    put = module.write_files

    def half(directory, files, **options):
        put(directory, dict(list(files.items())[:1]), **options)
        raise DiskError("full")

    with CaptureWriter(tmp_path) as writer:
        writer.write_episode([life("ana")])
        with monkeypatch.context() as patch:
            patch.setattr(module, "write_files", half)
            with pytest.raises(DiskError, match="full"):
                writer.write_episode([life("ana", 1)])
        writer.write_episode([life("ana", 1)])
    assert len(load_capture(tmp_path).manifest.samples) == 2
