"""``make learn`` says what its runs say."""

from __future__ import annotations

import pytest

from benchmarks.learn import STEPS, Run, Scale, verdicts


def runs(
    native=(100_000,), sb3=(100_000,), cloned=(20_000,), greedy=0.95, agreement=0.96, last=1.12
):
    def run(arm, seed, steps, **more):
        curve = [(1, 0.5), (STEPS, 0.9)] if steps is None else [(1, 0.5), (steps, 1.0)]
        if steps is not None and arm.startswith("live"):
            curve.append((STEPS, last))
        return Run(arm, seed, curve, **more)

    clone = {"greedy": greedy, "agreement": agreement, "captured": 5_000}
    return [
        *(run("live native", seed, steps) for seed, steps in enumerate(native)),
        *(run("live sb3", seed, steps) for seed, steps in enumerate(sb3)),
        *(run("clone, then live", seed, steps, **clone) for seed, steps in enumerate(cloned)),
    ]


def missed(*found):
    return [claim.split(":")[0] for claim, _, met in verdicts(found) if not met]


def test_everything_can_be_met():
    assert missed(*runs()) == []
    assert verdicts(runs())[-1][1] == "20,000: 5.0x fewer, 4.0x with the capture"


@pytest.mark.parametrize(
    "case",
    [
        ({"last": 1.09}, "live native, to the end", "live sb3, to the end"),
        ({"native": (100_000, None)}, "live native", "live native, to the end"),
        ({"sb3": (None,)}, "live sb3", "live sb3, to the end"),
        ({"agreement": 0.94}, "clone"),
        ({"greedy": 0.89}, "clone, greedy"),
        ({"cloned": (40_000,)}, "clone, then live"),
        ({"cloned": (20_000, 20_000, None)}, "clone, then live"),
    ],
)
def test_every_claim_can_be_missed(case):
    changes, *claims = case
    assert missed(*runs(**changes)) == claims


def test_a_run_that_never_arrives_counts_as_one_that_does_at_the_end():
    claim, figure, met = verdicts(runs(native=(None, None, 90_000)))[-1]
    assert met
    assert figure == "20,000: 15.0x fewer, 12.0x with the capture"
    assert claim.endswith("3x fewer live steps")


def test_scores():
    scale = Scale(chance=-10.0, script=-2.0)
    assert (scale.score(-10.0), scale.score(-2.0), scale.score(0.0)) == (0.0, 1.0, 1.25)
    assert Run("live native", 0, [(5, 0.2), (9, 1.0), (12, 0.4)]).reached == 9
