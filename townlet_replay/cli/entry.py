"""Where ``townlet`` begins: an extra that is not installed is one sentence and exit code 1."""

from __future__ import annotations

import sys

from townlet_replay.extras import sentence_for


def run() -> None:
    """Run the command line, or say which extra it needs."""
    try:
        from townlet_replay.cli.main import run as run_main

        run_main()
    except ModuleNotFoundError as error:
        sentence = sentence_for(error)
        if sentence is None:
            raise
        sys.stderr.write(f"error: {sentence}\n")
        sys.exit(1)
