"""What a wheel carries, and that a shell completes the command."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cli_runs import townlet

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def carried(tmp_path_factory):
    """Names in a wheel that is built from this checkout, to the bytes of the metadata's files."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    built = subprocess.run(build, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = folder.glob("townlet-*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_wheel_carries_every_file_of_the_packages_and_the_configs(carried):
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in ("townlet_env", "townlet_replay")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    expected |= {
        f"townlet_env/{path.relative_to(ROOT).as_posix()}"
        for path in (ROOT / "configs").rglob("*")
        if path.is_file()
    }
    assert expected - carried.keys() == set()
    foreign = {name for name in carried.keys() - expected if ".dist-info/" not in name}
    assert foreign == set()


@pytest.mark.parametrize(
    "name",
    [
        "townlet_env/py.typed",
        "townlet_replay/py.typed",
        "townlet_env/configs/affordances.yaml",
        "townlet_env/configs/scenarios/queue_conflict.yaml",
        "townlet_replay/compare/templates/report.html",
        "townlet_replay/view/assets/shell.html",
    ],
)
def test_what_is_read_at_run_time_is_in_the_wheel(carried, name):
    assert name in carried


def test_the_command_and_the_licence_are_in_the_wheel(carried):
    (points,) = (carried[name] for name in carried if name.endswith("/entry_points.txt"))
    assert points.decode().split() == [
        "[console_scripts]",
        "townlet",
        "=",
        "townlet_replay.cli.entry:run",
    ]
    assert any(name.endswith("/licenses/LICENSE") for name in carried)


COMPLETE = """
eval "$(townlet --show-completion)"
COMP_WORDS=({words}); COMP_CWORD={place}
_townlet_completion townlet
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["townlet", "cap"], ["capture", "captures"]),
        (["townlet", "captures", "val"], ["validate"]),
        (["townlet", "telemetry", "bo"], ["board"]),
    ],
    ids=" ".join,
)
def test_bash_completes_a_subcommand(tmp_path, words, expected):
    command = tmp_path / "townlet"
    run = "import sys; sys.argv[0] = 'townlet'; from townlet_replay.cli.entry import run; run()"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{run}" "$@"\n')
    command.chmod(0o755)
    script = COMPLETE.format(words=" ".join(words), place=len(words) - 1)
    ran = subprocess.run(
        [shutil.which("bash"), "-c", script],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(ran.stdout.split()) == expected, ran.stderr


def test_completion_can_be_installed_and_shown():
    shown = townlet("--help").out
    assert "--install-completion" in shown
    assert "--show-completion" in shown
