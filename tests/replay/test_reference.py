"""Tables of the documents: complete, written only between their markers, refreshed on request."""

import pytest
from typer.testing import CliRunner

from townlet_env.errors import ConfigError
from townlet_env.sim.features import feature_names
from townlet_env.sim.ids import Component, EventKind, Verb
from townlet_replay.reference import pages, settings, town
from townlet_replay.reference.__main__ import main
from townlet_replay.reference.markdown import table

PAGE = "before\n<!-- table: map channels -->\nold\n<!-- end of table -->\nafter\n"


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "README.md").write_text("no table here\n")
    (tmp_path / "docs" / "ops").mkdir(parents=True)
    (tmp_path / "docs" / "ops" / "page.md").write_text(PAGE)
    return tmp_path


def test_only_what_stands_between_the_markers_is_written(checkout):
    page = checkout / "docs" / "ops" / "page.md"
    assert pages.refresh(checkout, write=False) == [page]
    assert page.read_text() == PAGE
    assert pages.refresh(checkout, write=True) == [page]
    text = page.read_text()
    rows = town.map_channels()
    assert rows.startswith("| channel | name |")
    assert text == PAGE.replace("\nold\n", f"\n\n{rows}\n\n")
    assert pages.refresh(checkout, write=True) == []


def test_an_unknown_table_is_refused_with_the_nearest_one(checkout):
    (checkout / "README.md").write_text("<!-- table: event -->\n<!-- end of table -->\n")
    with pytest.raises(ConfigError, match="did you mean 'events'"):
        pages.refresh(checkout, write=True)


def test_a_folder_without_documents_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"found no README\.md"):
        pages.refresh(tmp_path, write=False)


def test_the_command_fails_on_differences_and_writes_on_request(checkout):
    import typer

    app = typer.Typer()
    app.command()(main)
    run = CliRunner().invoke
    assert run(app, [str(checkout)]).exit_code == 1
    assert run(app, [str(checkout), "--write"]).exit_code == 0
    assert run(app, [str(checkout)]).exit_code == 0


def test_bars_and_line_ends_do_not_break_a_table():
    assert table(("a", "b"), [("x|y", "two\nlines")]) == (
        "| a | b |\n| --- | --- |\n| x\\|y | two lines |"
    )


def test_vocabularies_are_complete():
    catalogue = town._catalogue()
    assert [verb.name.lower() for verb in Verb] == list(town.VERBS)
    assert list(town.COMPONENTS) == list(Component)
    assert list(town.EVENTS) == list(EventKind)
    for name in (*catalogue.action_names(), *catalogue.affordances):
        assert f"`{name}`" in town.actions() + town.affordances()
    assert all(f"`{name}`" in town.features() for name in feature_names(catalogue.kinds))


def test_settings_open_sections_and_show_the_default_that_holds_there():
    rules = settings.rule_settings()
    # The default of the decay, not of a need.
    assert "| `needs.decay.hunger` | number ≥ 0, ≤ 1 | `0.0035` |" in rules
    assert "| `utilities.power` | true or false | `true` |" in rules
    assert "| `ticks` | integer ≥ 1 | required | length of an episode |" in settings.scenario_keys()
    assert "`catalogue`" not in settings.scenario_keys()
    assert "| `ppo.clip_range_vf` | number > 0 | none |" in settings.training_settings()
