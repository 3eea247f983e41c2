"""The report as Markdown, with pictures beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from townlet_replay.compare import wording
from townlet_replay.compare.best import best_in_words, best_sheet
from townlet_replay.compare.charts import cards_of
from townlet_replay.compare.findings import Findings
from townlet_replay.compare.sentences import sentences
from townlet_replay.compare.wording import Sheet

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+\-!|~&$])")
_DESCRIBED = {
    "scores": "Final scores with 95% intervals",
    "curves": "Learning curves, sampled and greedy, along three axes",
    "profile": "Performance profile",
    "kpis": "Key figures by arm",
    "thresholds": "Steps until the script's level",
    "capture": "Log-ratios and actions of the recordings",
    "health": "Health of the updates",
    "agreement": "Agreement of the clones with the script",
    "confusion": "What the clone takes for what",
}


def markdown(findings: Findings, pictures: Mapping[str, str]) -> str:
    """Return the text of the report.

    Args:
        findings: What it is about.
        pictures: Group of charts -> name of the file beside the text.
    """
    comparison = findings.comparison
    state = "" if comparison.complete else "\n**Interrupted: what follows is incomplete.**\n"
    parts = [
        f"# Comparison on {escaped(comparison.scenario)}\n{state}",
        f"{escaped(wording.seeds_in_words(findings))}\n",
        *_verdict(findings, pictures),
        *_part("Learning curves", _CURVES, pictures, "curves"),
        "## Best checkpoint\n",
        f"{escaped(best_in_words(findings))}\n",
        table(best_sheet(findings)),
        *_part("Performance profile", _PROFILE, pictures, "profile"),
        *_part("Key figures", _KPIS, pictures, "kpis", table(wording.kpi_sheet(findings))),
        *_thresholds(findings, pictures),
        *_equality(findings),
        *_captures(findings, pictures),
        *_part("Health of the updates", _HEALTH, pictures, "health"),
        *_agreement(findings, pictures),
        "## Residents\n",
        "Mean return per episode of the final policies, sampled, mean over seeds.\n",
        table(wording.resident_sheet(findings)),
        "## Every seed\n",
        table(wording.score_sheet(findings)),
        table(wording.seed_sheet(findings)),
        "## Settings\n",
        _fenced(json.dumps(comparison.training, indent=1)),
    ]
    return "\n".join(parts)


_CURVES = (
    "Thin lines are training seeds, thick ones their interquartile mean, bands its 95% interval at "
    "each checkpoint; with few seeds bands reach beyond the picture. Arms that learn from captures "
    "begin where their recordings are paid."
)
_PROFILE = (
    "Share of final policies and evaluation episodes that score more than a threshold. Bands hold "
    "at one threshold at a time, and count episodes of one policy as alike as they are."
)
_KPIS = "Final policies, sampled: interquartile means over seeds with 95% intervals."
_HEALTH = (
    "Thin lines are seeds, thick ones their median. Stable-Baselines3 tells the KL of the last "
    "pass of an update only, the native learner the mean of all."
)


def _verdict(findings: Findings, pictures: Mapping[str, str]) -> list[str]:
    comparison = findings.comparison
    badges = [f"- {escaped(text)}" for _, text in wording.badges(findings)]
    refused = [
        f"- **{escaped(arm.name)}**: {escaped(arm.refused)}"
        for arm in comparison.arms
        if arm.refused is not None
    ]
    ways = [f"- **{escaped(a.name)}**: {escaped(a.how)}" for a in comparison.arms if a.runs]
    return [
        "## Verdict\n",
        "### In words\n",
        *(f"- {escaped(text)}" for text in sentences(findings)),
        "",
        *(
            ["Rollouts of live training, stored and trained on again:\n", *badges, ""]
            if badges
            else []
        ),
        f"{escaped(wording.scale_in_words(findings))} A cell gives the interquartile mean over "
        "training seeds with its 95% interval. *P(better)* is the chance that one more seed of an "
        "arm scores more than one of the baseline, sampled play. Total steps charge the captures; "
        "seconds are those of this machine, recordings and clones included.\n",
        table(wording.verdict_sheet(findings)),
        _image(pictures, "scores"),
        *(["## Refused\n", *refused, ""] if refused else []),
        "### How each arm was trained\n",
        *ways,
        f"\nCapture: {escaped(comparison.capture)}. All arms have the same network and, under the "
        "same seed, the same first weights and the same PPO settings.\n",
    ]


def _part(
    title: str, text: str, pictures: Mapping[str, str], group: str, sheet: str = ""
) -> list[str]:
    if group not in pictures:
        return []
    return [f"## {title}\n", f"{text}\n", _image(pictures, group), sheet]


def _thresholds(findings: Findings, pictures: Mapping[str, str]) -> list[str]:
    text = (
        "The first examination, sampled, at which a normalised score is reached; hollow triangles "
        "are runs that ended before. Medians are those of Kaplan and Meier, which count such runs "
        "for as long as they were watched."
    )
    sheet = table(wording.threshold_sheet(findings))
    return _part("Steps to a score", text, pictures, "thresholds", sheet)


def _equality(findings: Findings) -> list[str]:
    sheet = wording.pair_sheet(findings)
    if not sheet.rows:
        return []
    return [
        "## Same or not\n",
        "Equal is what was shown to differ by less than 5% of what lies between random and script: "
        "two one-sided tests at 5% each, or the same weights to the bit. *Detectable* is the "
        "difference that 80 of 100 such experiments would notice.\n",
        table(sheet),
    ]


def _captures(findings: Findings, pictures: Mapping[str, str]) -> list[str]:
    cards = cards_of(findings)
    if not cards:
        return []
    shown = [
        part
        for card in cards
        for part in (f"### {escaped(card.title)}\n", table(wording.card_sheet(card)))
    ]
    text = "Of the first training seed. mu is who acted, pi the policy named.\n"
    return ["## Captures\n", text, *shown, _image(pictures, "capture")]


def _agreement(findings: Findings, pictures: Mapping[str, str]) -> list[str]:
    text = (
        "Where there was a choice: on the rows a clone was taught, on whole lives that were left "
        "out, and where its own greedy play goes in town."
    )
    sheet = f"{_image(pictures, 'confusion')}\n{table(wording.stage_sheet(findings))}"
    return _part("Agreement with the script", text, pictures, "agreement", sheet)


def _image(pictures: Mapping[str, str], group: str) -> str:
    return f"![{_DESCRIBED[group]}]({pictures[group]})\n" if group in pictures else ""


def table(sheet: Sheet) -> str:
    """Return a sheet as a table of Markdown."""
    marks = ["---" if place < sheet.texts else "---:" for place in range(len(sheet.head))]
    lines = [list(map(escaped, sheet.head)), marks]
    lines += [list(map(escaped, row)) for row in sheet.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    flat = "".join(c if c.isprintable() else " " for c in text)
    return _SPECIAL.sub(r"\\\1", flat)


def _fenced(text: str) -> str:
    """Return text in a fence that nothing in it can close."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(longest + 1, 3)
    return f"{fence}json\n{text}\n{fence}\n"
