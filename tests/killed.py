"""A disk on which a process dies at its n-th call, in the test's own process."""

from __future__ import annotations

import os


class Killed(BaseException):
    """What a killed process would not live to see."""


class DyingDisk:
    """Counts calls that change the disk, and ends the process, so to say, at one of them.

    From then on every such call fails, as no process is there to make it: nothing is cleaned up.
    """

    CALLS = ("fsync", "replace", "unlink")

    def __init__(self, monkeypatch, dies_at):
        self.dies_at = dies_at
        self.calls = 0
        for name in self.CALLS:
            monkeypatch.setattr(os, name, self._watched(getattr(os, name)))

    @property
    def died(self):
        return self.calls > self.dies_at

    def _watched(self, call):
        def watched(*arguments, **options):
            self.calls += 1
            if self.calls == self.dies_at + 1:
                raise Killed
            if self.died:
                raise OSError(5, "nobody is there any more")
            return call(*arguments, **options)

        return watched
