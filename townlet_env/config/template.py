"""A scenario to begin with, written for whoever wants one of their own."""

from __future__ import annotations

import re
from pathlib import Path

from townlet_env.config.load import configs_dir, list_scenarios
from townlet_env.errors import ConfigError

TEMPLATE = "scenario_template.yaml"
NAME_IN_TEMPLATE = "my_story"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def write_scenario(name: str, folder: Path) -> Path:
    """Write ``<name>.yaml``, a commented scenario that is sound and whose claims hold.

    Args:
        name: Of the scenario: a small letter, then small letters, digits and underscores.
        folder: Where the file is written.

    Returns:
        The file.

    Raises:
        ConfigError: The name is no such word or is that of a shipped scenario, the folder does not
            exist or cannot be written to, or the file is there already.
    """
    if _NAME.fullmatch(name) is None:
        raise ConfigError(
            f"expected the name of a scenario such as corner_shop (small letters, digits and "
            f"underscores), found {name!r}"
        )
    if name in list_scenarios():
        raise ConfigError(f"{name!r} is a shipped scenario; choose another name for your own")
    path = folder / f"{name}.yaml"
    text = (configs_dir() / TEMPLATE).read_text(encoding="utf-8").replace(NAME_IN_TEMPLATE, name)
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(
            f"{path} is there already, and nothing was written; choose another name or folder"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} could not be written: {error.strerror}") from error
    return path
