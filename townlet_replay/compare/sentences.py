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
    """Return one sentence per kind of claim, with its uncertainty; the caveats among them."""
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
    lines = [
        (_beside_script(line.normalised), f"{line.arm.name} {interval(line.normalised, 2)}")
        for line in findings.verdicts()
        if line.normalised is not None and line.arm.name not in REFERENCES
    ]
    return _grouped(lines)


def _grouped(lines: list[tuple[str, str]]) -> list[str]:
    """Make one sentence of all that begin alike."""
    heads = dict.fromkeys(head for head, _ in lines)
    return [f"{head}: {'; '.join(text for one, text in lines if one == head)}." for head in heads]


def _beside_script(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return "Nothing shown against the script (one seed has no interval)"
    if found.low == found.high:
        return "Nothing shown against the script (the seeds do not vary)"
    if found.low > 1.0:
        return "Above the script (95% interval above 1)"
    if found.high < 1.0:
        return "Below the script (95% interval below 1)"
    return "Nothing shown against the script (95% interval holds 1)"


def _against_baseline(findings: Findings) -> list[str]:
    base = findings.baseline
    if base is None or findings.scale is None:
        return []
    others = [arm for arm in findings.trained if arm is not base]
    return _grouped([_beside(arm, base, _apart(findings, arm, base)) for arm in others])


def _apart(findings: Findings, arm: Arm, base: Arm) -> Equivalence:
    scores = [[findings.shown(s) for s in final_scores(a)] for a in (arm, base)]
    mine, theirs = ([run.weights for run in a.runs] for a in (arm, base))
    return equivalence(scores[0], scores[1], MARGIN, (mine, theirs))


def _beside(arm: Arm, base: Arm, found: Equivalence) -> tuple[str, str]:
    if found.verdict == "bitwise":
        return f"Same final weights as {base.name}, to the bit", arm.name
    nothing = f"Nothing shown against {base.name}"
    if found.low is None or found.high is None:
        return f"{nothing} (a single seed has no spread)", arm.name
    if found.low == found.high:
        return f"{nothing} (no seeds vary)", arm.name
    ends = f"{arm.name} {found.difference:+.2f} ({found.low:+.2f} to {found.high:+.2f})"
    if found.verdict == "equivalent":
        return (
            f"Equivalent to {base.name} within {found.margin:.2f}, difference and 90% interval",
            ends,
        )
    if found.verdict == "different":
        word = "Higher" if found.difference > 0 else "Lower"
        return f"{word} than {base.name}, by (90% interval; 95% leaves out 0 as well)", ends
    return (
        f"{nothing}, difference (90% interval), and what 80 of 100 such experiments would notice",
        f"{ends}, {found.detectable or 0.0:.2f}",
    )


def _speed(findings: Findings) -> list[str]:
    base = findings.baseline
    steps = {found.arm: found for found in findings.steps_to(1.0, "total")}
    theirs = None if base is None else steps.get(base.name)
    if theirs is None or not _all_arrived(theirs) or not theirs.median:
        return []
    lines = [
        f"{name} {count(mine.median)} ({mine.median / theirs.median:.2f} times as many)"
        for name, mine in steps.items()
        if name != theirs.arm and mine.median is not None and _all_arrived(mine)
    ]
    if not lines:
        return []
    return [
        f"First seen at the script's level, median total steps of {len(theirs.arrivals)} runs "
        f"without an interval: {theirs.arm} {count(theirs.median)}; {'; '.join(lines)}. Policies "
        "are examined now and then only, and one good examination counts."
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
