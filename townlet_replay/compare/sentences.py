"""What the numbers of a comparison carry, in sentences, and no more than that."""

from __future__ import annotations

from townlet_replay.compare.equivalence import MARGIN, Equivalence, equivalence
from townlet_replay.compare.findings import Findings, Steps, final_scores
from townlet_replay.compare.results import REFERENCES, Arm
from townlet_replay.compare.statistics import Estimate
from townlet_replay.compare.wording import badges, count, interval

FAR = 0.25
"""Normalised: greedy play that lies this much below sampled play, under every seed, is named."""
NEAR_CHANCE = 0.1
"""Normalised: scores this close to the random arm's are called so."""
LOW_ESS = 0.1
"""Effective sample sizes below this share are named."""


def sentences(findings: Findings) -> list[str]:
    """Return one sentence per claim, with its uncertainty; the caveats among them."""
    comparison = findings.comparison
    found = [] if comparison.complete else ["The comparison is incomplete: runs are missing."]
    found += [_parity(held, text) for held, text in badges(findings)]
    found += _against_script(findings)
    found += _against_baseline(findings)
    found += _speed(findings)
    found += [text for arm in findings.trained for text in _greedy(findings, arm)]
    found += _recordings(findings)
    found += [
        f"{arm.name} was refused: {arm.refused}"
        for arm in comparison.arms
        if arm.refused is not None
    ]
    return found + _caution(findings)


def _parity(held: bool, text: str) -> str:
    if held:
        return f"Training on stored rollouts gave the bits of live training: {text}."
    return f"Training on stored rollouts was not shown to give the bits of live training: {text}."


def _against_script(findings: Findings) -> list[str]:
    if findings.scale is None:
        return ["No arm can be held against the script: there is no scale of random and script."]
    return [
        _script_sentence(line.arm.name, line.normalised)
        for line in findings.verdicts()
        if line.normalised is not None and line.arm.name not in REFERENCES
    ]


def _script_sentence(name: str, found: Estimate) -> str:
    shown = f"{interval(found, 2)}, script 1"
    if found.low is None or found.high is None:
        return f"{name} against the script: nothing shown, one seed has no interval ({shown})."
    if found.low == found.high:
        return f"{name} against the script: nothing shown, its seeds do not vary ({shown})."
    if found.low > 1.0:
        return f"{name} scores above the script: its 95% interval lies above 1 ({shown})."
    if found.high < 1.0:
        return f"{name} scores below the script: its 95% interval lies below 1 ({shown})."
    return f"{name} against the script: nothing shown, its 95% interval holds 1 ({shown})."


def _against_baseline(findings: Findings) -> list[str]:
    base = findings.baseline
    if base is None or findings.scale is None:
        return []
    return [
        _baseline_sentence(arm, base, _apart(findings, arm, base))
        for arm in findings.trained
        if arm is not base
    ]


def _apart(findings: Findings, arm: Arm, base: Arm) -> Equivalence:
    scores = [[findings.shown(s) for s in final_scores(a)] for a in (arm, base)]
    mine, theirs = ([run.weights for run in a.runs] for a in (arm, base))
    return equivalence(scores[0], scores[1], MARGIN, (mine, theirs))


def _baseline_sentence(arm: Arm, base: Arm, found: Equivalence) -> str:
    pair = f"{arm.name} against {base.name}"
    if found.verdict == "bitwise":
        return f"{pair}: the same final weights, to the bit."
    if found.low is None or found.high is None:
        return f"{pair}: nothing shown, a single seed has no spread."
    if found.low == found.high:
        return f"{pair}: nothing shown, neither arm's seeds vary."
    ends = f"{found.difference:+.2f} (90% interval {found.low:+.2f} to {found.high:+.2f})"
    if found.verdict == "equivalent":
        return f"{pair}: equivalent within {found.margin:.2f} of the normalised score, {ends}."
    if found.verdict == "different":
        word = "higher" if found.difference > 0 else "lower"
        return f"{pair}: {word}, {ends} normalised; the 95% interval leaves out 0 as well."
    return (
        f"{pair}: nothing shown, {ends} normalised; of differences, one of "
        f"{found.detectable or 0.0:.2f} would be noticed in 80 of 100 such experiments."
    )


def _speed(findings: Findings) -> list[str]:
    base = findings.baseline
    steps = {found.arm: found for found in findings.steps_to(1.0, "total")}
    theirs = None if base is None else steps.get(base.name)
    if theirs is None or not _all_arrived(theirs) or not theirs.median:
        return []
    return [
        f"{name} was first seen at the script's level after a median of {count(mine.median)} steps "
        f"in total, {theirs.arm} after {count(theirs.median)} ({mine.median / theirs.median:.2f} "
        f"times as many); medians of {len(mine.arrivals)} runs, without an interval."
        for name, mine in steps.items()
        if name != theirs.arm and mine.median is not None and _all_arrived(mine)
    ]


def _all_arrived(steps: Steps) -> bool:
    return all(found.reached for found in steps.arrivals)


def _greedy(findings: Findings, arm: Arm) -> list[str]:
    sampled, greedy = (
        [findings.shown(s) for s in final_scores(arm, greedy=way)] for way in (False, True)
    )
    if findings.scale is None or not greedy:
        return []
    if not all(a - b > FAR for a, b in zip(sampled, greedy, strict=True)):
        return []
    low, high = sum(greedy) / len(greedy), sum(sampled) / len(sampled)
    near = ", near chance" if abs(low) < NEAR_CHANCE else ""
    return [
        f"Greedy play of {arm.name} scores {low:.2f}{near}, sampled {high:.2f} (means): "
        f"it is lower by more than {FAR:g} in each of {len(greedy)} seeds."
    ]


def _recordings(findings: Findings) -> list[str]:
    cards = [(a.name, card) for a in findings.trained for run in a.runs for card in run.cards]
    failed = dict.fromkeys((name, card.title) for name, card in cards if card.audit == "failed")
    found = [f"{name}: the audit of {title} failed." for name, title in failed]
    lowest: dict[tuple[str, str], float] = {}
    for name, card in cards:
        if card.ess is not None and card.ess < LOW_ESS:
            key = (name, card.title)
            lowest[key] = min(card.ess, lowest.get(key, 1.0))
    return found + [
        f"{name}: the effective sample size of {title} is down to {ess:.3f} of its rows: it "
        "says little about the policy."
        for (name, title), ess in lowest.items()
    ]


def _caution(findings: Findings) -> list[str]:
    if not findings.trained:
        return []
    seeds, plural = findings.seeds, "s" if findings.seeds > 1 else ""
    few = " Few seeds rarely tell arms apart." if seeds < 10 else ""
    return [
        f"Based on {seeds} training seed{plural}; each interval is one at a time, not corrected "
        f"for the number of arms, and takes the script's score as known.{few}"
    ]
