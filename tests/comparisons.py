"""Comparisons small enough for tests."""

from __future__ import annotations

from townlet_replay.compare.results import (
    Arm,
    CaptureCard,
    CompareSettings,
    Comparison,
    Confusion,
    HealthPoint,
    ParityCheck,
    Play,
    Point,
    Run,
    Triptych,
    WallClock,
)
from townlet_replay.training.config import load_train_config

SMALL = {
    "network": {"map_width": 8, "features_width": 16, "trunk_widths": [16]},
    "ppo": {"epochs": 2, "minibatch_size": 64, "learning_rate": 2e-3},
    "bc": {"epochs": 25, "patience": None, "minibatch_size": 64, "learning_rate": 5e-3},
    "live": {"steps": 600, "num_worlds": 2, "rollout_ticks": 40},
    "rollout": {"ticks": 80},
    "replay": {"batch_size": 8},
    "epochs": 2,
}
BRIEF = CompareSettings(seeds=2, eval_seeds=2, points=2, capture_episodes=2)


def training(**changes):
    return load_train_config("employment_punctuality", {**SMALL, **changes})


HOSTILE = "</script><img src=x onerror=alert(1)>"


def _play(score, residents, episodes):
    scores = tuple(score + 0.01 * k for k in range(episodes))
    kpis = {"mean_need": 0.9, "wages": max(score, 0.0)}
    return Play(scores=scores, kpis=kpis, residents=dict.fromkeys(residents, score))


def made_up(seeds=3, scenario="a town", residents=("ada", "bo"), **changes):
    """A comparison that nobody ran: live arms learn slowly, arms with captures at once.

    ``live_sb3`` never gets to the script under its last seed. Every text that comes from outside
    says ``scenario``.
    """

    def point(stage, steps, score):
        live, captured, gradient = steps
        return Point(
            stage=stage,
            live_steps=live,
            captured_steps=captured,
            gradient_steps=gradient,
            sampled=_play(score, residents, 2),
            greedy=None if stage == "plays" else _play(score + 0.1, residents, 2),
            agreement=None if stage == "plays" else 0.5,
        )

    card = CaptureCard(
        title="The capture",
        policy=scenario,
        source=scenario,
        scenario=scenario,
        behaviour="scripts",
        samples=4,
        rows=320,
        seeds=(5,),
        versions={scenario: scenario},
        audit="failed",
        reasons=(scenario,),
        audited_rows=300,
        inverse=1.0,
        worst=scenario,
        worst_z=2.0,
        ess=0.5,
        log_ratio_edges=(-1.0, 0.0, 1.0),
        log_ratio_counts=(3, 317),
        actions=("wait", scenario),
        taken=(0.7, 0.3),
        foreseen=(0.6, 0.4),
    )
    confusion = Confusion(actions=("wait", scenario), counts=((9, 1), (2, 8)))
    triptych = Triptych(train=0.95, held_out=0.9, own=0.8, confusion=confusion)

    def trained(name, seed):
        off = 0.1 * seed
        fails = name == "live_sb3" and seed == seeds - 1
        if name.startswith("live"):
            points = [point("untrained", (0, 0, 0), 0.0)]
            points += [
                point("live", (k * 100, 0, k * 10), 0.0 if fails else k * 0.6 + off) for k in (1, 2)
            ]
        else:
            points = [point("untrained", (0, 0, 0), 0.0), point("cloned", (0, 320, 30), 1.1 + off)]
        health = tuple(
            HealthPoint(
                stage="live",
                gradient_steps=10 * k,
                kl=0.01 / k,
                clip_fraction=0.1,
                entropy=1.0,
                explained_variance=0.5,
                value_loss=None,
                grad_norm=None if "sb3" in name else 0.4,
            )
            for k in (1, 2)
        )
        clone = name in ("bc", "bc_then_live", "capture_native", "capture_sb3")
        return Run(
            seed=seed,
            points=tuple(points),
            weights=f"{name}{seed}",
            health=health,
            triptych=triptych if clone else None,
            cards=(card,) if clone else (),
        )

    names = changes.pop("arms", ("live_native", "live_sb3", "bc"))
    arms = [
        Arm(name=name, how=scenario, runs=tuple(trained(name, k) for k in range(seeds)))
        for name in names
    ]
    arms += [
        Arm(
            name=name, how="by hand", runs=(Run(seed=None, points=(point("plays", (0, 0, 0), s),)),)
        )
        for name, s in (("script", 1.0), ("random", 0.0))
    ]
    arms.append(Arm(name="capture_native", how="", runs=(), refused=scenario))
    clocks = tuple(
        WallClock(
            arm=arm.name,
            seed=run.seed,
            training=7.0,
            evaluation=1.0,
            points=tuple(float(k) for k in range(len(run.points))),
        )
        for arm in arms
        for run in arm.runs
    )
    check = {"updates": 6, "rows": 960, "terminations": 0, "truncations": 12}
    found = Comparison(
        scenario=scenario,
        scenario_digest="0" * 32,
        identity={},
        settings=BRIEF,
        training={"scenario": scenario},
        training_seeds=tuple(range(seeds)),
        evaluation_seeds=(1_000_000, 1_000_001),
        capture=scenario,
        arms=tuple(arms),
        parity=(
            ParityCheck(learner="native", equal=6, **check),
            ParityCheck(learner="sb3", equal=3, **check),
        ),
        complete=True,
        wall_clock=clocks,
    )
    return found.model_copy(update=changes)
