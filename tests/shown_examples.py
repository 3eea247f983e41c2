"""What the examples print, as docs/EXAMPLES.md shows it; ``python tests/shown_examples.py`` writes.

Every example is run as its reader runs it: a program of its own, in an empty folder.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "EXAMPLES.md"
FEW = "captures/few"  # a small capture for the program that only reads
GIVEN = {"read_without_townlet": [FEW]}
ELSEWHERE = ("rllib_town", "tianshou_town", "torchrl_town")  # run by `make examples`

# Trained networks, or played ones: another processor rounds otherwise, and what follows differs.
ROUNDED = {
    "capture_to_native",
    "capture_to_sb3",
    "cleanrl_style",
    "clone_then_improve",
    "minari_bc",
    "mixed_residents",
    "sb3_live",
}
TOLERANCE = 0.15  # of what lies between chance (about -0.25) and the best (about 0.93), a seventh

BLOCK = re.compile(r"<!-- output: (\w+) -->\n```text\n(.*?)```\n<!-- end of output -->", re.DOTALL)
FIGURE = re.compile(r"[-+]?\d+(?:\.\d+)?%?")


def names():
    """Return the examples whose output is shown."""
    every = (path.stem for path in sorted((ROOT / "examples").glob("*.py")))
    return [name for name in every if name not in ELSEWHERE]


def shown(page):
    """Return what a page shows, by example."""
    return dict(BLOCK.findall(page))


def printed(name, folder):
    """Run an example in a folder, and return what it prints."""
    surroundings = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "MINARI_DATASETS_PATH": str(folder / "minari"),
    }
    if name in GIVEN:
        words = ["-m", "townlet_replay", "capture", "queue_conflict", "--ticks", "30"]
        _run([*words, "--output", FEW], folder, surroundings)
    return _run([str(ROOT / "examples" / f"{name}.py"), *GIVEN.get(name, [])], folder, surroundings)


def _run(words, folder, surroundings):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *words],
        cwd=folder,
        env=surroundings,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{words}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def differences(name, expected, found):
    """Say where two outputs differ.

    Words and whole numbers must be the same. So must all other figures, but for those of networks:
    they may differ by :data:`TOLERANCE`.
    """
    if FIGURE.sub("#", expected) != FIGURE.sub("#", found):
        return [f"expected\n{expected}found\n{found}"]
    pairs = zip(FIGURE.findall(expected), FIGURE.findall(found), strict=True)
    return [f"{one} is now {other}" for one, other in pairs if not _alike(name, one, other)]


def _alike(name, one, other):
    if name not in ROUNDED or not ("." in one or "%" in one):
        return one == other
    scale = 100 if "%" in one else 1
    return abs(float(one.rstrip("%")) - float(other.rstrip("%"))) <= TOLERANCE * scale


def write():
    """Run everything, and put what was printed into the page."""
    page = PAGE.read_text(encoding="utf-8")
    for name in names():
        with tempfile.TemporaryDirectory() as folder:
            block = f"<!-- output: {name} -->\n```text\n{printed(name, Path(folder))}```\n"
        old = re.compile(rf"<!-- output: {name} -->\n.*?<!-- end of output -->", re.DOTALL)
        page, count = old.subn(lambda _, new=block: f"{new}<!-- end of output -->", page)
        sys.stdout.write(f"{name}: {'written' if count else 'has no place in the page'}\n")
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    write()
