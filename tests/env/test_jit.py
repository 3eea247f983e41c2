"""The cache of compiled code: where it goes when a place cannot be written, and what is deleted."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numba
import numpy as np
import pytest

from townlet_env import jit


@pytest.fixture
def no_folder(tmp_path):
    """A path that nobody can write below, not even root: a file is in the way."""
    file = tmp_path / "file"
    file.write_text("")
    return file / "cache"


def test_a_folder_that_can_be_written_is_taken_without_a_word(tmp_path, monkeypatch):
    monkeypatch.setenv("TOWNLET_CACHE_DIR", str(tmp_path / "cache"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert jit._cache_dir() == tmp_path / "cache" / jit.kernel_digest()


def test_a_temporary_folder_takes_its_place(no_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TOWNLET_CACHE_DIR", str(no_folder))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.warns(UserWarning, match=r"cache cannot be written to.*is kept in .*townlet-\d+"):
        found = jit._cache_dir()
    assert found is not None
    assert found.parent == tmp_path / f"townlet-{os.getuid()}"
    assert found.parent.stat().st_mode & 0o077 == 0  # nobody else writes what is run here


def test_a_temporary_folder_of_somebody_else_is_not_trusted(no_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TOWNLET_CACHE_DIR", str(no_folder))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.warns(UserWarning, match="not kept: every start compiles again"):
        assert jit._cache_dir() is None


def test_without_any_folder_kernels_are_compiled_all_the_same(no_folder, monkeypatch):
    monkeypatch.setenv("TOWNLET_CACHE_DIR", str(no_folder))
    monkeypatch.setattr(tempfile, "tempdir", str(no_folder))
    with pytest.warns(UserWarning, match="not kept: every start compiles again"):
        monkeypatch.setattr(jit, "CACHE_DIR", jit._cache_dir())
    assert jit.kernel(twice)(np.float64(2.0)) == 4.0


def twice(value):
    return 2.0 * value


def test_versions_unused_for_a_month_are_deleted(tmp_path, monkeypatch):
    """Folders that are not ours stay, whatever their age."""
    monkeypatch.setenv("TOWNLET_CACHE_DIR", str(tmp_path))
    ages = {"0" * 16: 31, "1" * 16: 29, "notes": 400}
    for name, days in ages.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "kernel.nbi").write_text("")
        os.utime(folder, times=(time.time() - days * 86400,) * 2)
    jit._cache_dir()
    assert {path.name for path in tmp_path.iterdir()} == {"1" * 16, "notes", jit.kernel_digest()}


COLD = """
import numpy as np
from townlet_env.notices import listen
from townlet_env.sim.random import draw, mix
listen(lambda sentence: print("notice:", sentence))
mix(np.uint64(1))
draw(np.uint64(1), 0, 0, 0)
import sys
print("compiler's library:", "numba.np.arraymath" in sys.modules)
"""


def test_who_listens_hears_once_that_something_is_compiled(tmp_path):
    """The first start says so; the next has nothing to say, and loads nothing to compile with."""

    def start() -> str:
        root = str(Path(__file__).parents[2])
        environment = {**os.environ, "TOWNLET_CACHE_DIR": str(tmp_path), "PYTHONPATH": root}
        command = [sys.executable, "-c", COLD]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout

    notice = "notice: compiling the town's rules (once per version, about half a minute) ...\n"
    if not numba.config.DISABLE_JIT:
        assert start() == f"{notice}compiler's library: True\n"
    assert start() == "compiler's library: False\n"
