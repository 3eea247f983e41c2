"""The command line, run as a user runs it, inside the test's process."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from typing import NamedTuple
from unittest import mock

from townlet_replay.cli.main import run


class Ran(NamedTuple):
    """What one command left."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


def townlet(*arguments) -> Ran:
    """Run `townlet ARGUMENTS...`; any other exception than SystemExit is a traceback: a failure."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["townlet", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            run()
            code = 0
        except SystemExit as stopped:
            code = stopped.code or 0
    return Ran(code, out.getvalue(), err.getvalue())


def refusal(*arguments) -> str:
    """The one sentence with which a command refuses: exit 1, nothing on stdout."""
    ran = townlet(*arguments)
    assert ran.code == 1, ran
    assert ran.out == ""
    assert "Traceback" not in ran.err
    lines = ran.err.strip().splitlines()
    assert len(lines) == 1, ran.err
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")
