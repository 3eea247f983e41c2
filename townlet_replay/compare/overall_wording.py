"""What holds over several scenarios, in words and tables: the same ones in every form."""

from __future__ import annotations

from townlet_replay.compare import wording
from townlet_replay.compare.findings import Findings
from townlet_replay.compare.overall import Line, Overall
from townlet_replay.compare.wording import NONE, Sheet, count, interval, number

INCOMPLETE = (
    "Incomplete: something was interrupted or failed. The same command goes on with what is "
    "missing."
)
VERDICT = (
    "Scores are normalised in each scenario: random = 0, its scripts = 1. IQM is the interquartile "
    "mean of all policy runs with a 95% interval from resampling seeds within each scenario. "
    "P(better) is the chance that one more seed of an arm scores more than one of the baseline, "
    "mean over scenarios, sampled play. The median is that of the scenarios' means; the optimality "
    "gap is the mean of what is missing to the script, where more than the script counts as "
    "nothing missing. These three have no interval: of few seeds it would not hold. Steps are "
    "means over scenarios."
)
PARITY = (
    "Rollouts of live training, stored and trained on again by a learner of another seed, in each "
    "scenario:"
)
PROFILE = (
    "Share of final policies, over scenarios and training seeds, that score more than a threshold. "
    "Bands hold at one threshold at a time."
)
BY_SCENARIO = (
    "Normalised scores, sampled play: interquartile mean over all training seeds of a scenario, "
    "with its 95% interval. A star marks scenarios that do not count above."
)
STANDING = (
    "What the scores are measured by, as mean return of a resident, and whether a scenario counts "
    "in the figures above. The names lead to the reports of each."
)


def plural(number_of: int, word: str) -> str:
    """Return a count with its noun."""
    return f"{number_of} {word}" if number_of == 1 else f"{number_of} {word}s"


def counted_in_words(overall: Overall) -> str:
    """Say what the figures over scenarios are made of."""
    if not overall.arms:
        return "No arm was trained in a scenario with a scale, so nothing is said over scenarios."
    if not overall.runs:
        return (
            "No scenario has a scale and all arms, so nothing is said over scenarios; below is "
            "what each of them has."
        )
    scenarios, runs = len(overall.counted), overall.runs
    caution = ""
    if runs == 1:
        caution = " Of one seed there is no interval."
    elif scenarios * runs < 10:
        caution = " That is little: intervals are wide on purpose."
    return (
        f"Over {plural(scenarios, 'scenario')} ({', '.join(overall.counted)}), with "
        f"{plural(runs, 'training seed')} in each: {plural(scenarios * runs, 'policy run')} of "
        f"every arm.{caution} All arms are judged on the same scenarios; one that an arm lacks "
        "counts for none. Scenarios are those chosen here, not a sample: intervals are about more "
        "seeds in these, and say nothing of others."
    )


def overall_sheet(overall: Overall) -> Sheet:
    """Return the verdict table."""
    base = overall.baseline
    better = "P(better)" if base is None else f"P(better than {base})"
    head = ("arm", "IQM, sampled", "IQM, greedy", better, "median", "mean", "optimality gap")
    rows = tuple(_row(line) for line in overall.lines())
    return Sheet((*head, "live steps", "total steps"), rows)


def _row(line: Line) -> tuple[str, ...]:
    return (
        line.arm,
        interval(line.sampled, 2),
        interval(line.greedy, 2),
        interval(line.improvement, 2),
        number(line.median, 2),
        number(line.mean, 2),
        number(line.gap, 2),
        count(line.budget.live),
        count(line.budget.total),
    )


def scenario_sheet(overall: Overall) -> Sheet:
    """Return the normalised scores by arm and scenario, sampled, each with all its seeds."""
    heads = [name if name in overall.counted else f"{name} *" for name in overall.scaled]
    columns = [_column(overall.findings[name]) for name in overall.scaled]
    arms = (*overall.arms, *overall.absent)
    rows = [(arm, *(column.get(arm, NONE) for column in columns)) for arm in arms]
    return Sheet(("arm", *heads), tuple(rows) if columns else ())


def _column(found: Findings) -> dict[str, str]:
    return {
        line.arm.name: "refused"
        if line.normalised is None and line.arm.refused is not None
        else interval(line.normalised, 2)
        for line in found.verdicts()
    }


def improvement_sheet(overall: Overall) -> Sheet:
    """Return the chance to be better than the baseline, by arm and scenario."""
    if overall.baseline is None or not overall.runs:
        return Sheet((), ())
    columns = [
        {line.arm.name: interval(line.improvement, 2) for line in found.verdicts()}
        for found in map(overall.findings.__getitem__, overall.counted)
    ]
    rows = [
        (arm, *(column[arm] for column in columns))
        for arm in overall.arms
        if arm != overall.baseline
    ]
    return Sheet(("arm", *overall.counted), tuple(rows))


def better_in_words(overall: Overall) -> str:
    """Say what :func:`improvement_sheet` holds."""
    return f"Probability of improvement on {overall.baseline} in each scenario, with all its seeds:"


def standing_sheet(overall: Overall) -> Sheet:
    """Return what each scenario is, what its scores are measured by, and why it does not count."""
    rows = []
    for place in overall.places:
        found = overall.findings.get(place.name)
        scale = None if found is None else found.scale
        comparison = place.comparison
        rows.append(
            (
                place.name,
                counts_in_words(overall, place.name),
                number(None if scale is None else scale.random),
                number(None if scale is None else scale.script),
                NONE if comparison is None else str(len(comparison.training_seeds)),
                NONE if comparison is None else str(len(comparison.evaluation_seeds)),
            )
        )
    head = ("scenario", "counts", "random", "script", "training seeds", "evaluation seeds")
    return Sheet(head, tuple(rows), texts=2)


def counts_in_words(overall: Overall, name: str) -> str:
    """Say whether a scenario counts, and if not, why."""
    why = overall.left_out.get(name)
    return "yes" if why is None else f"no: {why}"


def badges(overall: Overall) -> list[tuple[bool, str]]:
    """Return whether capture == live held in every scenario, and in words."""
    return [
        (held, f"{name}: {text}")
        for name, found in overall.findings.items()
        for held, text in wording.badges(found)
    ]


def troubles(overall: Overall) -> list[str]:
    """Return what is missing from the figures over scenarios, a sentence each."""
    left = [f"{name} is left out: {why}" for name, why in overall.left_out.items()]
    return left + [f"{arm} is not shown: {why}" for arm, why in overall.absent.items()]
