"""What ``from townlet_replay import ...`` offers, and that it costs nothing before it is used."""

import subprocess
import sys

import pytest

import townlet_replay

HEAVY = ("torch", "pydantic", "numba", "pettingzoo", "stable_baselines3", "matplotlib", "typer")


def _run(code: str) -> str:
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_importing_the_package_loads_no_library():
    code = f"import sys, townlet_replay\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    assert _run(code).strip() == "[]"


def test_recording_needs_no_torch():
    code = (
        "import sys\n"
        "from townlet_replay import RecordReplay, ReplayDataset, ReplayDatasetConfig\n"
        "from townlet_replay import ReplaySample, frames_to_replay_sample, load_capture\n"
        "print('torch' in sys.modules)"
    )
    assert _run(code).strip() == "False"


@pytest.mark.parametrize("name", townlet_replay.__all__)
def test_every_public_name_is_the_thing_of_that_name(name):
    assert getattr(townlet_replay, name).__name__ == name
    assert name in dir(townlet_replay)


def test_public_names_are_those_of_the_homes_and_of_the_type_checker():
    assert sorted(townlet_replay._HOMES) == townlet_replay.__all__
    with open(townlet_replay.__file__, encoding="utf-8") as source:
        seen_by_mypy = source.read().split("if TYPE_CHECKING:")[1].split("__all__")[0]
    for name, home in townlet_replay._HOMES.items():
        line = next(line for line in seen_by_mypy.splitlines() if f"from {home} import" in line)
        assert name in line


def test_a_misspelt_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="RecordReplays"):
        _ = townlet_replay.RecordReplays
