"""Which optional packages are there, and what to install when one is not.

Imports none of them: it also speaks when the command line's own packages are missing.
"""

from __future__ import annotations

from importlib.util import find_spec

from townlet_env.errors import TownletError

# The packages of every extra, by the names they are imported with.
EXTRAS = {
    "cli": ("typer", "rich"),
    "train": ("torch", "safetensors"),
    "sb3": ("stable_baselines3", "sb3_contrib"),
    "tensorboard": ("tensorboard",),
    "report": ("matplotlib", "jinja2", "plotly"),
    "render": ("pygame", "PIL", "av"),
    "minari": ("minari", "h5py", "PIL"),
    "parquet": ("pyarrow",),
}


def missing_of_extras() -> dict[str, list[str]]:
    """Look for the packages of every extra, without importing them.

    Returns:
        Extra to the names that are not installed; nothing is missing where the list is empty.
    """
    return {
        extra: [name for name in names if find_spec(name) is None]
        for extra, names in EXTRAS.items()
    }


def install(extra: str) -> str:
    """Return the words that install an extra."""
    return f"pip install 'townlet[{extra}]'"


def require(*extras: str) -> None:
    """Refuse now what would only fail at its end, for want of a package.

    Raises:
        TownletError: A package of one of these extras is not installed.
    """
    missing = missing_of_extras()
    for extra in extras:
        if missing[extra]:
            raise TownletError(_sentence(missing[extra][0], extra))


def sentence_for(error: ModuleNotFoundError) -> str | None:
    """Say which extra brings the module that was not found.

    Returns:
        One sentence, or None where no extra brings it: then it is no matter of installing.
    """
    name = (error.name or "").partition(".")[0]
    for extra, names in EXTRAS.items():
        if name in names:
            return _sentence(name, extra)
    return None


def _sentence(name: str, extra: str) -> str:
    return f"this needs {name}, which is not installed; run: {install(extra)}"
