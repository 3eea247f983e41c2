"""``python -m townlet_replay`` is the ``townlet`` command."""

from townlet_replay.cli.entry import run

if __name__ == "__main__":
    run()
