"""A program: run `townlet` commands as if some packages were not installed.

    python without.py torch,safetensors '[["train", "queue_conflict"]]'

Prints, as JSON, the exit code and the two outputs of every command.
"""

import contextlib
import io
import json
import sys


class Refusing:
    """A finder of modules that does not know some of them."""

    def __init__(self, finder, names):
        self._finder = finder
        self._names = names

    def __getattr__(self, name):
        return getattr(self._finder, name)

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] in self._names:
            return None
        return self._finder.find_spec(fullname, path, target)


def main(names, commands):
    sys.meta_path[:] = [Refusing(finder, names) for finder in sys.meta_path]
    found = []
    for words in commands:
        from townlet_replay.cli.entry import run

        sys.argv, code = ["townlet", *words], 0
        with (
            contextlib.redirect_stdout(io.StringIO()) as out,
            contextlib.redirect_stderr(io.StringIO()) as err,
        ):
            try:
                run()
            except SystemExit as stopped:
                code = stopped.code
        found.append((code, out.getvalue(), err.getvalue()))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1].split(","), json.loads(sys.argv[2]))
