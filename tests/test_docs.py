"""Documents hold: their commands run, their Python runs, their tables and links are true."""

import re
import shlex
import shutil
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from townlet_env.config.claims import (
    CLAIM_KEYS,
    ConstantOf,
    EventClaim,
    ResidentClaim,
    RewardClaim,
    TieClaim,
)
from townlet_env.config.load import list_scenarios
from townlet_env.config.steps import STEP_KEYS, WaitFor
from townlet_env.policies.registry import _SHIPPED as SHIPPED_POLICIES
from townlet_replay.entries import ManifestEntry
from townlet_replay.manifest import Manifest
from townlet_replay.reference.pages import TABLES, pages, render
from townlet_replay.reference.settings import rule_settings
from townlet_replay.sample import EXTRA_ARRAYS, ROW_ARRAYS
from townlet_replay.sidecar import (
    BehaviourKind,
    CaptureMetadata,
    SampleMeta,
    SampleMetrics,
    SampleSource,
)

ROOT = Path(__file__).parents[1]
PAGES = pages(ROOT)
# They install and run everything, which is what CI does with them.
RUN_BY_CI = ("make demo", "make test", "make check")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def blocks(page):
    """Yield language, line number and text of every fenced block."""
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        yield found[1], text[: found.start()].count("\n") + 2, found[2]


def commands(text):
    joined = text.replace("\\\n", " ")
    return [line for line in joined.splitlines() if line and not line.startswith("#")]


def run_command(line, where):
    """Run ``townlet ...``, perhaps with its output sent to a file."""
    from townlet_replay.cli.main import app

    program, *arguments = shlex.split(line)
    target = None
    if arguments[-2:-1] == [">"]:
        *arguments, _, target = arguments
    assert program == "townlet", f"{where}: only townlet commands can be tested, found {line!r}"
    ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == 0, f"{where}: {line}\n{ran.output}\n{ran.exception!r}"
    if target:
        Path(target).write_text(ran.stdout, encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_everything_a_page_tells_one_to_run_runs(page, tmp_path, monkeypatch):
    # Commands read the goldens from docs/, as they would in a checkout.
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    monkeypatch.chdir(tmp_path)
    for language, line, text in blocks(page):
        where = f"{name_of(page)}:{line}"
        if language == "bash":
            for command in commands(text):
                if command not in RUN_BY_CI:
                    run_command(command, where)
        elif language == "python":
            # Every block stands alone; what the blocks before it wrote is there.
            exec(compile(text, where, "exec"), {"__name__": "__main__"})
        elif language == "yaml":
            name = re.match(r"name: (\w+)\n", text)
            if name is not None:
                Path(f"{name[1]}.yaml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_generated_tables_are_those_of_the_code(page):
    text = page.read_text(encoding="utf-8")
    assert render(text) == text, "refresh with: python -m townlet_replay.reference --write"


def test_every_table_stands_somewhere():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in TABLES if f"<!-- table: {name} -->" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in LINK.findall(text):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = page if not path else (page.parent / path).resolve()
        assert target.exists(), f"{name_of(page)}: nothing at {link}"
        if anchor:
            assert anchor in anchors(target), f"{name_of(page)}: no heading for {link}"


def anchors(page):
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_capture_guide_names_everything_in_a_capture():
    guide = (ROOT / "docs" / "ROLLOUT_CAPTURE_GUIDE.md").read_text(encoding="utf-8")
    models = (SampleMeta, SampleMetrics, SampleSource, CaptureMetadata, Manifest, ManifestEntry)
    fields = [field.alias or name for m in models for name, field in m.model_fields.items()]
    names = {*ROW_ARRAYS, *EXTRA_ARRAYS, *fields, *get_args(BehaviourKind)}
    names -= {"episode_return", "samples", "metadata"}  # the first is called `return` in the file
    assert sorted(name for name in names if f"`{name}`" not in guide) == []


def test_the_scenario_page_names_every_word_of_the_file():
    page = (ROOT / "docs" / "ROLLOUT_SCENARIOS.md").read_text(encoding="utf-8")
    assert [name for name in list_scenarios() if f"- **{name}.** " not in page] == []
    assert [key for key in STEP_KEYS if f"`{key}" not in page] == []
    assert [key for key in CLAIM_KEYS if f"`{{{key}: " not in page] == []
    claims = (EventClaim, TieClaim, ResidentClaim, RewardClaim, ConstantOf)
    words = {field.alias or name for m in claims for name, field in m.model_fields.items()}
    words |= {*SHIPPED_POLICIES, *get_args(WaitFor.model_fields["condition"].annotation)}
    assert sorted(word for word in words if not re.search(rf"\b{word}\b", page)) == []


def test_numbers_in_the_rules_are_the_defaults_of_the_settings():
    rows = re.findall(r"^\| `([\w.]+)` \| [^|]* \| `([^`]*)` \|", rule_settings(), re.MULTILINE)
    page = (ROOT / "docs" / "SIMULATION.md").read_text(encoding="utf-8")
    told = re.findall(r"`([a-z_.]+)` \(([-\d][^)]*)\)", page)
    assert len(told) > 40
    for name, words in told:
        # `arrivals.needs` is a section; `grace_ticks` and the like are settings of two sections.
        found = [numbers(value) for key, value in rows if f".{name}." in f".{key}."]
        assert numbers(words) in found, f"{name} ({words}): the defaults are {found}"


def numbers(words):
    scale = 0.01 if "%" in words else 1.0
    return [float(number) * scale for number in re.findall(r"-?\d+(?:\.\d+)?", words)]


def test_make_targets_named_in_documents_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in RUN_BY_CI:
        assert f"\n{command.removeprefix('make ')}:" in makefile


def test_the_readme_leads_to_every_page_and_begins_with_a_picture():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = LINK.findall(readme)
    assert [name_of(page) for page in PAGES[1:] if name_of(page) not in links] == []
    assert readme.index("](docs/images/town_day.png)") < readme.index("```")


def test_the_readme_begins_with_the_two_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first = next(text for language, _, text in blocks(ROOT / "README.md") if language == "bash")
    assert commands(first) == ["make demo", "make test"]
    assert readme.index(first) < readme.index("\n## ")
