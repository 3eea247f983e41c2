"""The table of commands, read off the command line itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer.main

from townlet_replay.reference.markdown import code, table


def commands() -> str:
    """Every command with its arguments, what it does and its options."""
    from townlet_replay.cli.main import app

    rows = [
        (code(_usage(path, command)), _does(command), _options(command))
        for path, command in walk(typer.main.get_command(app), "townlet")
    ]
    return table(("command", "does", "options"), rows)


def walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield every command that does something under ``command``, with its full name."""
    children = getattr(command, "commands", None)  # only groups have any
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from walk(child, f"{path} {name}")


def _usage(path: str, command: Any) -> str:
    words = [path]
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            name = parameter.name.upper() + ("..." if parameter.nargs == -1 else "")
            words.append(name if parameter.required else f"[{name}]")
        elif parameter.required:
            words.append(f"{parameter.opts[0]} {parameter.name.upper()}")
    return " ".join(words)


def _does(command: Any) -> str:
    """Return the first paragraph of the help."""
    return str(command.help or "").split("\n\n")[0]


def _options(command: Any) -> str:
    options = [
        code("/".join([*parameter.opts[:1], *parameter.secondary_opts[:1]]))
        for parameter in command.params
        if parameter.param_type_name == "option" and not parameter.required
    ]
    return ", ".join(options)
