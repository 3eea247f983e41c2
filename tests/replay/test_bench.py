"""The quick speed table: every part is really played, and what is missing is named."""

from cli_runs import townlet

from townlet_replay.bench import quick
from townlet_replay.bench.measure import Effort

SHORT = Effort(rounds=1, seconds=0.001)


def test_every_part_is_played():
    found = quick.quick("shared_flat", SHORT)
    assert [row["arm"] for row in found.rows] == [part.name for part in quick.PARTS]
    assert all(0 < row["lowest"] <= row["per_second"] <= row["highest"] for row in found.rows)
    assert not found.left_out


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(quick, "find_spec", lambda name: None)
    monkeypatch.setattr(quick, "PARTS", [part for part in quick.PARTS if part.needs])
    found = quick.quick("shared_flat", SHORT)
    assert found.rows == []
    assert list(found.left_out.values()) == [
        "stable_baselines3 is not installed",
        "torch is not installed",
    ]


def test_the_recorded_part_writes_captures(tmp_path, monkeypatch):
    monkeypatch.setattr(quick.tempfile, "TemporaryDirectory", lambda: _Kept(tmp_path))
    monkeypatch.setattr(quick, "PARTS", [p for p in quick.PARTS if p.name.endswith("recorded")])
    quick.quick("shared_flat", SHORT)
    assert list(tmp_path.rglob("*_manifest.json"))


class _Kept:
    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        return str(self.folder)

    def __exit__(self, *_):
        return None


def test_command_line():
    words = ("bench", "shared_flat", "--rounds", "1", "--seconds", "0.01")
    assert len(townlet(*words, "--json").json["speeds"]) == len(quick.PARTS)
    assert "agent steps per second" in townlet(*words).out
