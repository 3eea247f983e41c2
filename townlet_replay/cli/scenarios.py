"""``townlet scenarios``: the catalogue of stories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="List, show, check, describe and begin scenarios.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of a shipped scenario, or a YAML file.")]
Names = Annotated[list[str] | None, typer.Argument(help="Names or files; all shipped by default.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List the shipped scenarios.

    Example: townlet scenarios list
    """
    from rich.table import Column, Table

    from townlet_env.config.load import list_scenarios, load_scenario
    from townlet_replay.cli.console import stdout

    configs = [load_scenario(name) for name in list_scenarios()]
    if as_json:
        keys = {"name", "description", "ticks", "seed"}
        typer.echo(json.dumps([config.model_dump(include=keys) for config in configs], indent=1))
        return
    table = Table(Column("scenario", no_wrap=True), "ticks", "residents", "story")
    for config in configs:
        who = ", ".join(resident.id for resident in config.residents)
        table.add_row(config.name, str(config.ticks), who, config.description.strip())
    stdout.print(table)


@app.command()
def show(scenario: Name) -> None:
    """Print a scenario file as it is.

    Example: townlet scenarios show queue_conflict
    """
    from townlet_env.config.load import scenario_path

    typer.echo(scenario_path(scenario).read_text(encoding="utf-8", errors="replace"), nl=False)


@app.command()
def validate(scenarios: Names = None) -> None:
    """Read scenarios and check that everything in them fits together.

    Example: townlet scenarios validate my_town.yaml
    """
    from townlet_env.config.compile import compile_plan
    from townlet_env.config.load import list_scenarios, load_scenario
    from townlet_env.policies.crew import Crew

    for name in scenarios or list_scenarios():
        config = load_scenario(name)
        Crew(config, compile_plan(config))
        typer.echo(f"{name}: sound")


@app.command()
def check(scenarios: Names = None, as_json: AsJson = False) -> None:
    """Play scenarios and hold them against what they say they ``expect``; exit 1 if one fails.

    Example: townlet scenarios check rivalry_decay
    """
    from townlet_env.config.load import list_scenarios, load_scenario
    from townlet_env.verdicts import check_story

    results = {name: check_story(load_scenario(name)) for name in scenarios or list_scenarios()}
    if as_json:
        found = {name: [claim._asdict() for claim in claims] for name, claims in results.items()}
        typer.echo(json.dumps(found, indent=1))
    else:
        for name, claims in results.items():
            typer.echo(f"{name}: {sum(c.held for c in claims)} of {len(claims)} claims hold")
            for claim in claims:
                typer.echo(f"  {'ok  ' if claim.held else 'FAIL'} {claim.claim}: {claim.found}")
    if not all(claim.held for claims in results.values() for claim in claims):
        raise typer.Exit(1)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of your scenario, such as corner_shop.")],
    folder: Annotated[Path, typer.Option(help="Where its file is written.")] = Path(),
) -> None:
    """Write a commented scenario file to begin with; what is there is never overwritten.

    Example: townlet scenarios new corner_shop --folder stories
    """
    from townlet_env.config.template import write_scenario

    typer.echo(f"wrote {write_scenario(name, folder)}")


@app.command()
def schema() -> None:
    """Print the JSON schema of a scenario file, for editors.

    Example: townlet scenarios schema > scenario.schema.json
    """
    from townlet_env.config.schema import TownConfig

    found = TownConfig.model_json_schema()
    # The loader fills the catalogue in; a file must not have it.
    found["properties"].pop("catalogue")
    found["required"].remove("catalogue")
    typer.echo(json.dumps(found, indent=1))
