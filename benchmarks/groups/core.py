"""The batch core with the full rules, one thread, against its twin and against other towns."""

from __future__ import annotations

from benchmarks.peers import ENVPOOL, METTAGRID, MPE2_3, NOT_RUN, PURSUIT, SUPERSUIT, running
from benchmarks.report import Report
from benchmarks.twin import twin
from townlet_env.config.load import load_scenario
from townlet_env.sim.features import FULL_MAP_CHANNELS
from townlet_replay.bench.measure import Arm
from townlet_replay.bench.plays import core

CORE = "batch core, 256 worlds"
TWIN = "plain-Python twin"


def measure(report: Report) -> None:
    """Eight residents of ``town_day``, legal actions of chance."""
    town = load_scenario("town_day")
    peers = (MPE2_3, PURSUIT, SUPERSUIT, ENVPOOL, METTAGRID)
    arms = [
        Arm(CORE, core(town, 256)),
        Arm("batch core, 256 worlds, full maps", core(town, 256, len(FULL_MAP_CHANNELS))),
        Arm("batch core, 256 worlds, no maps", core(town, 256, 0)),
        Arm("batch core, 1 world", core(town, 1)),
        Arm(TWIN, twin(town)),
    ]
    with running(report, peers) as others:
        rates = report.take_turns([*arms, *others], "core")
    for peer in (TWIN, *(peer.name for peer in peers)):
        report.compare(rates, CORE, peer)
    for what, why in NOT_RUN.items():
        report.lacks(what, why)
