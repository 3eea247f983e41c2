"""``townlet doctor``: versions, extras and a self-test."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
    warm: Annotated[
        bool, typer.Option("--warm", help="Compile everything now, so that no later start waits.")
    ] = False,
) -> None:
    """Print versions and extras, and play an episode twice: the same seed gives the same bits.

    Example: townlet doctor
    """
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from townlet_env import townlet_v0
    from townlet_env.errors import TownletError
    from townlet_env.jit import CACHE_DIR, kernel_digest
    from townlet_replay.extras import missing_of_extras

    names = ("townlet", "numpy", "numba", "gymnasium", "pettingzoo", "torch", "stable-baselines3")
    versions = {"python": platform.python_version()}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    if warm:
        warm_up()
    digests = []
    for _ in range(2):
        env = townlet_v0.parallel_env("queue_conflict", max_ticks=50)
        env.reset(seed=7)
        while env.agents:
            env.step(dict.fromkeys(env.agents, 0))
        digests.append(env.state_digest())
    same, missing = digests[0] == digests[1], missing_of_extras()
    facts = {
        "versions": versions,
        "extras": {extra: {"missing": gone} for extra, gone in missing.items()},
        "kernels": kernel_digest(),
        "cache": None if CACHE_DIR is None else str(CACHE_DIR),
        "same_seed_same_bits": same,
    }
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
    else:
        for name, found in versions.items():
            typer.echo(f"{name:20} {found}")
        for extra, gone in missing.items():
            typer.echo(f"{f'extra {extra}':20} {_state(extra, gone)}")
        typer.echo(f"{'kernels':20} {kernel_digest()}, compiled to {CACHE_DIR or 'memory only'}")
        typer.echo(f"{'same seed, same bits':20} {'yes' if same else 'NO'}")
    if not same:
        raise TownletError("two episodes with the same seed ended in different states; report this")


def _state(extra: str, missing: list[str]) -> str:
    from townlet_replay.extras import install

    return f"missing {', '.join(missing)}: {install(extra)}" if missing else "installed"


def warm_up() -> None:
    """Compile every kernel, or load it where it is compiled already, and show how far it is."""
    from townlet_replay.cli.console import bar
    from townlet_replay.warm import STEPS

    with bar("compiling", len(STEPS)) as progress:
        for title, compile_it in STEPS.items():
            compile_it()
            progress.advance(note=title)
