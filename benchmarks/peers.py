"""``python -m benchmarks.peers``: other environments, each measured in a process of its own.

What our environment can hold comes with the extra ``bench``. Peers with demands of their own get a
virtual environment under ``runs/peers``, made when it is first asked for. A peer that does not
install or start is named with the reason, and the rest goes on.
"""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import threading
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from benchmarks.report import Report
from townlet_replay.bench.measure import Arm, Rate

WORKER = Path(__file__).parent / "peer_worker.py"
FOLDER = Path("runs/peers")
INSTALL_SECONDS = 300.0
START_SECONDS = 60.0
ANSWER_SECONDS = 60.0  # beyond the seconds asked for


class Peer(NamedTuple):
    """One other environment."""

    name: str  # in tables
    key: str  # in the worker
    needs: str | None = None  # what its own virtual environment holds; None for ours
    plays_townlet: bool = False  # imports it from this checkout


MPE2_3 = Peer("MPE2 simple_spread, 3 agents", "mpe2_spread_3")
MPE2_8 = Peer("MPE2 simple_spread, 8 agents", "mpe2_spread_8")
PURSUIT = Peer("PettingZoo SISL pursuit, 8 agents", "sisl_pursuit")
SUPERSUIT = Peer("MPE2 through SuperSuit, Gymnasium vector", "supersuit_gymnasium")
SUPERSUIT_SB3 = Peer("MPE2 through SuperSuit, SB3 VecEnv", "supersuit_sb3")
ENVPOOL = Peer("EnvPool MiniGrid (C++), 256 worlds", "envpool_minigrid", "envpool==1.2.5")
METTAGRID = Peer("mettagrid arena (C++), 8 agents", "mettagrid_arena", "mettagrid==0.26.22")
COLLECTOR = "minari[create,hdf5]==0.5.4 pillow numba>=0.61 pettingzoo>=1.27 pydantic>=2.7 pyyaml>=6"
GYMNASIUM = Peer("Gymnasium view, not recorded", "townlet_gymnasium", COLLECTOR, True)
MINARI = Peer("Gymnasium view, Minari's collector", "townlet_minari", COLLECTOR, True)
CORE = Peer("batch core, 128 worlds, a process of its own", "townlet_core", None, True)
PEERS = (MPE2_3, MPE2_8, PURSUIT, SUPERSUIT, SUPERSUIT_SB3, ENVPOOL, METTAGRID, GYMNASIUM, MINARI)

NOT_RUN = {
    "PufferLib ocean (snake, trash_pickup)": "its source package, the only one there is, "
    "downloads graphics libraries while it builds, and there is no wheel",
    "JaxMARL": "not tried in this suite: JAX brings a compiler and a NumPy of its own, and its "
    "first step compiles for many seconds",
    "Melting Pot": "needs assets and a simulator that are not on the package index",
}


class PeerError(Exception):
    """A peer could not be installed, started or asked."""


def interpreter(peer: Peer) -> str:
    """Return the Python that can run a peer, making its environment if need be.

    Raises:
        PeerError: It does not install.
    """
    if peer.needs is None:
        return sys.executable
    # Peers with the same needs share an environment.
    home = (FOLDER / re.split(r"\W", peer.needs)[0]).absolute()
    python, stamp = home / "bin" / "python", home / "installed"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == peer.needs:
        return str(python)
    venv.create(home, with_pip=True, clear=True)
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "-q", "install"]
    try:
        subprocess.run(
            [*command, *peer.needs.split()], check=True, capture_output=True, text=True,
            timeout=INSTALL_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise PeerError(f"not installed within {INSTALL_SECONDS:.0f} s") from None
    except subprocess.CalledProcessError as error:
        raise PeerError(f"pip: {last_line(error.stderr)}") from None
    stamp.write_text(peer.needs, encoding="utf-8")
    return str(python)


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


class Running:
    """A peer's process, ready to play."""

    def __init__(self, peer: Peer) -> None:
        """Start it and wait until it is ready.

        Raises:
            PeerError: It does not install, or does not start.
        """
        self.peer = peer
        path = str(WORKER.parents[1]) if peer.plays_townlet else ""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
        self.process = subprocess.Popen(
            [interpreter(peer), str(WORKER), peer.key], env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._lines: queue.Queue[str] = queue.Queue()
        self._errors: list[str] = []
        pipes = (self.process.stdout, self._lines.put), (self.process.stderr, self._errors.append)
        self._pumps = [threading.Thread(target=_pump, args=pipe, daemon=True) for pipe in pipes]
        for pump in self._pumps:
            pump.start()
        try:
            self._answer(START_SECONDS)
        except PeerError:
            self.close()
            raise

    def play(self, seconds: float) -> Rate:
        """Let it play, alone.

        Raises:
            PeerError: It has died, or does not answer.
        """
        self.begin(seconds)
        return self.end(seconds)

    def begin(self, seconds: float) -> None:
        """Let it play, and do not wait."""
        if self.process.stdin is None or self.process.poll() is not None:
            raise PeerError(f"it has died: {last_line(''.join(self._errors))}")
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()

    def end(self, seconds: float) -> Rate:
        """Wait for it, and return how fast it was."""
        found = self._answer(seconds + ANSWER_SECONDS)
        return Rate(found["wall"], found["processor"])

    def _answer(self, seconds: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            raise PeerError(f"no answer within {seconds:.0f} s") from None
        if not line:
            self.process.wait(5)
            raise PeerError(last_line("".join(self._errors)))
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        for pump in self._pumps:
            pump.join()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


def _pump(source: Any, put: Any) -> None:
    for line in source:
        put(line)
    put("")


@contextmanager
def running(report: Report, peers: Sequence[Peer]) -> Iterator[list[Arm]]:
    """Start peers and yield their arms; what cannot be run is named in the report."""
    started: list[Running] = []
    try:
        for peer in peers:
            try:
                found = Running(peer)
                found.play(0.05)
                started.append(found)
            except (PeerError, OSError) as error:
                report.lacks(peer.name, str(error))
                report.console.print(f"{peer.name} cannot be run: {error}", highlight=False)
        yield [Arm(found.peer.name, found.play) for found in started]
    finally:
        for found in started:
            found.close()


def main() -> None:
    """Install and try all peers, and say how fast they are here."""
    console = Console()
    for peer in PEERS:
        try:
            found = Running(peer)
            console.print(f"{peer.name:45} {found.play(0.5).wall:12,.0f} agent steps/s")
            found.close()
        except (PeerError, OSError) as error:
            console.print(f"{peer.name:45} {error}", highlight=False)
    for name, reason in NOT_RUN.items():
        console.print(f"{name:45} {reason}", highlight=False)


if __name__ == "__main__":
    main()
