"""Logs shown: the summary, the plot, the commands and the page of the documents."""

import json
import math
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from epoch_logs import KEYS_1, KEYS_2, epoch, replace_in_line
from matplotlib.image import imread
from typer.testing import CliRunner

from townlet_replay.cli.telemetry import app
from townlet_replay.errors import TelemetryError
from townlet_replay.training.telemetry import (
    TelemetryWriter,
    read_log,
    validate_log,
)
from townlet_replay.training.telemetry_plot import plot_log
from townlet_replay.training.telemetry_schema import json_schema
from townlet_replay.training.telemetry_summary import summarise

DOC = Path(__file__).parents[2] / "docs" / "TELEMETRY.md"


def test_the_summary_counts_what_is_known(log):
    with TelemetryWriter(log) as writer:
        writer.write(epoch(4, loss_total=math.nan))
    summary = summarise(log)
    figures = {figure.key: figure for figure in summary.figures}
    loss = figures["loss_total"]
    assert (loss.first, loss.last, loss.lowest, loss.highest) == (1.0, None, 1 / 3, 1.0)
    assert loss.mean == math.fsum([1, 1 / 2, 1 / 3]) / 3
    assert (loss.unmeasured, figures["lr"].unmeasured, figures["lr"].mean) == (1, 4, None)
    assert (summary.records, summary.last_epoch, summary.steps, summary.cycles) == (4, 4, 400, 2)
    assert json.loads(summary.json())["figures"][0]["key"] == "updates"
    text, table = summary.text().splitlines(), summary.markdown().splitlines()
    assert len({len(line) for line in text[2:]}) == 1  # aligned
    assert "| loss_total | 1 | - | 0.333333 | 1 | 0.611111 | 1 |" in table
    assert "4 records, epochs 1 to 4 in 2 cycles, 400 steps from replay, version 2" in text[0]


def panels_with_a_first_curve(picture):
    """(row, column) of the panels in which the colour of the first curve appears."""
    blue = np.abs(picture[..., :3] - np.array([0x1F, 0x4E, 0x79]) / 255).max(axis=2) < 0.02
    height, width = blue.shape
    rows, columns = np.nonzero(blue)
    return set(zip((rows * 4 // height).tolist(), (columns * 3 // width).tolist(), strict=True))


def test_the_plot_shows_the_figures(tmp_path):
    drawn = []
    for name, figures in (("bare", {}), ("full", {"queue_conflict_events": 5, "grad_norm": 1.0})):
        path = tmp_path / name
        with TelemetryWriter(path) as writer:
            for number in (1, 2):
                writer.write(epoch(number, **figures))
        plot_log(path, tmp_path / f"{name}.png")
        drawn.append(panels_with_a_first_curve(imread(tmp_path / f"{name}.png")))
    bare, full = drawn
    assert not bare
    assert {(1, 2), (3, 2)} <= full  # gradient norm, queue conflicts
    assert {column for _, column in full} == {2}


def test_an_old_version_can_be_drawn_and_summed_up(tmp_path):
    path = tmp_path / "log"
    with TelemetryWriter(path, version="1") as writer:
        writer.write(epoch(1))
    plot_log(path, tmp_path / "old.png")
    assert imread(tmp_path / "old.png").std() > 0.05
    assert [figure.key for figure in summarise(path).figures][-1] == KEYS_1[-1]


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_validate_answers_with_its_exit_code(log):
    sound = run("validate", log)
    assert sound.exit_code == 0
    assert "3 records in 1 files, version 2: sound" in sound.stdout
    replace_in_line(log, 2, lr="fast")
    deviating = run("validate", log)
    assert deviating.exit_code == 1
    assert "ppo.jsonl:2: lr: expected a valid number, found 'fast'" in deviating.stderr
    report = run("validate", log, "--json")
    assert report.exit_code == 1
    assert json.loads(report.stdout)["problems"][0]["key"] == "lr"
    missing = run("validate", log.with_name("none"))
    assert isinstance(missing.exception, TelemetryError)
    assert run("validate").exit_code == 2


def test_the_schema_command_prints_the_published_schema():
    assert json.loads(run("schema").stdout) == json_schema("2")
    assert json.loads(run("schema", "--version", "1").stdout) == json_schema("1")
    assert isinstance(run("schema", "--version", "9").exception, TelemetryError)


@pytest.mark.parametrize("command", ["validate", "watch", "summary", "plot", "board", "schema"])
def test_help_shows_an_example(command):
    assert f"Example: townlet telemetry {command}" in run(command, "--help").stdout


def test_help_loads_no_heavy_library():
    code = (
        "import sys, townlet_replay.cli.telemetry;"
        "print([m for m in ('torch', 'pydantic', 'matplotlib') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_command_of_the_page_works(log, monkeypatch):
    monkeypatch.chdir(log.parent)
    commands = re.findall(r"^\$ townlet telemetry (.+)$", DOC.read_text(), re.MULTILINE)
    assert {command.split()[0] for command in commands} == {
        "validate",
        "watch",
        "summary",
        "plot",
        "board",
        "schema",
    }
    for command in commands:
        result = run(*shlex.split(command))
        assert result.exit_code == 0, (command, result.output)


def test_the_python_of_the_page_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)
    exec(compile(code, str(DOC), "exec"), {})
    assert capsys.readouterr().out.strip() == "0.25"


def test_the_page_lists_every_key_with_its_meaning():
    rows = re.findall(
        r"^\| `([^`]+)` \| (1|1\.1|2) \| .*? \| (.*) \|$", DOC.read_text(), re.MULTILINE
    )
    properties = json_schema("2")["properties"]
    assert [(key, meaning) for key, _, meaning in rows] == [
        (key, spec["description"]) for key, spec in properties.items()
    ]
    assert [key for key, since, _ in rows if since == "1"] == KEYS_1
    assert [key for key, since, _ in rows if since == "2"] == KEYS_2


def test_the_sample_in_the_documents_is_a_sound_log():
    """docs/samples/ppo_epoch_log.jsonl is the log of a real run of rollout cycles."""
    sample = Path(__file__).parents[2] / "docs" / "samples" / "ppo_epoch_log.jsonl"
    assert validate_log(sample).ok
    records = read_log(sample)
    assert [record.epoch for record in records] == list(range(1, len(records) + 1))
    assert {record.data_mode for record in records} == {"rollout"}
    assert all(record.kl_divergence >= 0 and record.updates > 0 for record in records)
