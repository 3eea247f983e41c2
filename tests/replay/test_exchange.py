"""What holds for every format of exchange: nothing is lost, and what does not fit is refused."""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from capture_toys import life
from cli_runs import refusal, townlet
from exchange_toys import alike_lives, as_lives, survives, there_and_back
from hypothesis import HealthCheck, given, settings
from town_captures import digests, script_capture
from toy_samples import script_sample

from townlet_replay.cli.exchange import Format
from townlet_replay.errors import CaptureError
from townlet_replay.exchange import FORMATS, exchange_format, export_capture, import_capture
from townlet_replay.exchange.lives import library, lives_of, write_capture
from townlet_replay.manifest import load_capture
from townlet_replay.sample import same_sample

FEW = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """A capture of a town: map, features, masks, reward components, intents, log-probs."""
    place = tmp_path_factory.mktemp("town") / "noisy"
    script_capture("queue_conflict", place, epsilon=0.2, episodes=2)
    return place


@FEW
@given(lives=alike_lives())
def test_any_lives_survive_to_the_bit_npz(lives, tmp_path_factory):
    assert survives("npz", lives, tmp_path_factory.mktemp("x") / "any.npz")


@FEW
@given(lives=alike_lives(smallest=1))
def test_any_lives_survive_to_the_bit_minari(lives, tmp_path_factory):
    assert survives("minari", lives, tmp_path_factory.mktemp("x") / "any-v0")


@FEW
@given(lives=alike_lives())
def test_any_lives_survive_to_the_bit_parquet(lives, tmp_path_factory):
    assert survives("parquet", lives, tmp_path_factory.mktemp("x") / "any")


@pytest.mark.parametrize("name", FORMATS)
def test_a_capture_comes_back_byte_for_byte(name, noisy, tmp_path):
    assert digests(there_and_back(name, noisy, tmp_path)) == digests(noisy)


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_capture_gives_the_same_bytes(name, noisy, tmp_path):
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        export_capture(noisy, name, tmp_path / place / "data-v0")
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


@pytest.mark.parametrize("name", FORMATS)
def test_optional_arrays_may_be_missing_in_some_lives(name, tmp_path):
    plain = life("anna", rows=3)
    full = replace(plain, extras={"policy_version": np.arange(3), **plain.extras})
    assert survives(name, [life("anna"), full, life("ben", dies=True)], tmp_path / "some-v0")


@pytest.mark.parametrize("name", FORMATS)
def test_commands_export_and_import(name, noisy, tmp_path):
    output, back = tmp_path / "only-v0", tmp_path / "back"
    ran = townlet("captures", "export", noisy, "--to", name, "--output", output, "--agent", "anna")
    assert (ran.code, ran.out) == (0, f"2 samples -> {output}\n")
    ran = townlet(
        "captures", "import", output, "--from", name, "--output", back, "--prefix", "anna"
    )
    assert ran.code == 0
    assert ran.out == f"2 samples, 240 rows -> {back / 'anna_manifest.json'}\n"
    wanted = [sample for sample in load_capture(noisy) if sample.meta.agent_id == "anna"]
    assert all(same_sample(a, b) for a, b in zip(wanted, load_capture(back), strict=True))


def test_packed_captures_go_out_and_come_back_packed(noisy, tmp_path):
    packed = tmp_path / "packed"
    assert townlet("captures", "convert", noisy, "--mode", "packed", "-o", packed).code == 0
    export_capture(packed, "parquet", tmp_path / "data")
    ran = townlet(
        *("captures", "import", tmp_path / "data", "--from", "parquet"),
        *("-o", tmp_path / "back", "--mode", "packed", "--json"),
    )
    assert (ran.code, ran.json["samples"]) == (0, 6)
    assert digests(tmp_path / "back") == digests(packed)


@pytest.mark.parametrize("name", FORMATS)
def test_an_output_that_exists_is_left_alone(name, noisy, tmp_path):
    output = tmp_path / "data-v0"
    output.mkdir()
    said = refusal("captures", "export", noisy, "--to", name, "--output", output)
    assert said == f"{output}: exists already; choose another --output, or remove it"
    assert list(output.iterdir()) == []


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_is_left_of_an_export_that_fails(name, tmp_path):
    def samples():
        yield life()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exchange_format(name).write(
            replace(as_lives([life(), life()]), samples=samples()), tmp_path / "data-v0"
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_source_of_another_kind_is_refused(name, noisy, tmp_path):
    text = tmp_path / "text"
    text.write_text("not a data set")
    for source in (tmp_path / "nothing", tmp_path, text, noisy):
        with pytest.raises(CaptureError, match=re.escape(str(source))):
            list(exchange_format(name).read(source).samples)


def test_the_command_knows_every_format():
    assert [item.value for item in Format] == list(FORMATS)
    with pytest.raises(CaptureError, match="unknown format 'rlds'; expected one of"):
        export_capture("a", "rlds", "b")


def test_agents_with_other_spaces_are_exported_apart(tmp_path):
    mixed = write_capture(as_lives([life(), script_sample()]), tmp_path)
    with pytest.raises(CaptureError, match=r"one data set has one space: .*--agent"):
        list(lives_of(mixed).samples)


def test_an_agent_that_is_not_there_is_refused(noisy):
    with pytest.raises(CaptureError, match="no agent 'zoe'; it has anna, "):
        lives_of(load_capture(noisy), ["zoe"])


def test_a_missing_library_is_one_sentence():
    with pytest.raises(CaptureError) as caught:
        library("no_such_library.part", "minari")
    assert str(caught.value) == "no_such_library is not installed: pip install 'townlet[minari]'"


@pytest.mark.parametrize(("name", "part"), [("minari", "h5py"), ("parquet", "pyarrow.parquet")])
def test_commands_name_the_extra_that_is_missing(name, part, noisy, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, part, None)  # as if it were not there
    sentence = f"{part.partition('.')[0]} is not installed: pip install 'townlet[{name}]'"
    output = tmp_path / "data-v0"
    assert refusal("captures", "export", noisy, "--to", name, "--output", output) == sentence
    assert refusal("captures", "import", noisy, "--from", name, "--output", output) == sentence
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, sys
from townlet_replay.errors import CaptureError
from townlet_replay.exchange import export_capture
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    export_capture(*sys.argv[1:])
except CaptureError as error:
    print(error)
"""


@pytest.mark.parametrize("name", FORMATS)
def test_a_disk_that_refuses_is_one_sentence_and_leaves_nothing(name, noisy, tmp_path):
    command = [sys.executable, "-c", FULL_DISK, str(noisy), name, str(tmp_path / "data-v0")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot" in ran.stdout
    assert str(tmp_path) in ran.stdout
    assert ran.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_import_names_what_is_there_already(noisy, tmp_path):
    export_capture(noisy, "npz", tmp_path / "noisy.npz")
    assert len(import_capture(tmp_path / "noisy.npz", "npz", tmp_path / "back")) == len(
        load_capture(noisy)
    )
    with pytest.raises(CaptureError, match="there is a capture already"):
        import_capture(tmp_path / "noisy.npz", "npz", tmp_path / "back")
