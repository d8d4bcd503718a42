"""What a comparison found, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from ..core.errors import counted
from ..datasets.splitting.splits import ALL
from ..evaluation.metrics import METRICS, Metric
from .significance import ALPHA, POWER, fewest_groups

_MOST = 100_000
_INTERVALS = (
    "Intervals of the mean difference are 95 % percentile bootstrap intervals over groups (10,000 resamples), not "
    "corrected for the number of tests."
)
Paired = Mapping[str, Any]


def metric_of(name: str) -> tuple[Metric | None, str]:
    """What is known of a column's metric, and of which structure it is: ``mean_dice_heart`` is Dice, ``heart``."""
    known = [metric for metric in METRICS if name == metric or name.startswith(f"{metric}_")]
    longest = max(known, key=len, default="")
    return METRICS.get(longest), name.removeprefix(longest).strip("_") if known else ""


def noun(name: str, structure: str = "") -> str:
    """A metric as it stands in a sentence: ``mean Dice of heart``."""
    metric, part = metric_of(name)
    title = name if metric is None else metric.title
    lowered = title[:1].lower() + title[1:] if title[1:2].islower() else title
    of = structure or part.replace("_", " ")
    return lowered + (f" of {of}" if of else "")


def number(value: float | None) -> str:
    """Three decimals, or two digits where these are too few."""
    if value is None:
        return "undefined"
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"


def p_text(p: float) -> str:
    """``p = 0.012``, ``p < 0.001``; never rounded onto the level that it is judged by."""
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.4f}" if abs(p - ALPHA) < 0.0005 else f"p = {p:.3f}"


def units(row: Paired) -> str:
    """What is independent: groups, or images where each is a group."""
    return "images" if row["groups"] == row["images"] else "groups"


def interval(row: Paired, sign: int = 1) -> str:
    """``95 % interval 0.010 to 0.033``."""
    if row["ci95"] is None:
        return "no interval: one group"
    low, high = sorted(sign * bound for bound in row["ci95"])
    return f"95 % interval {number(low)} to {number(high)}"


def needed_text(row: Paired) -> str:
    """How many groups would show such a difference: ``412``, ``more than 100,000``, ``-`` where none would."""
    needed = row["groups_needed"]
    return "-" if needed is None else f"{needed:,}" if needed <= _MOST else f"more than {_MOST:,}"


def verdict(row: Paired) -> str:
    """One or two sentences about a pair in a metric, in plain English.

    A difference is shown where the test rejects (Holm-corrected, 5 %) and the interval of the mean lies on the same
    side of 0. A structure that is reported beside the family gets no verdict of the test.
    """
    a, b, what = row["a"], row["b"], noun(row["metric"], row["structure"])
    if not row["images"]:
        return f"{a} and {b} share no value of {what}."
    if row["ties"] == row["images"]:
        return f"{a} and {b} are equal in {what} in {'every image' if row['images'] > 1 else 'the only image'}."
    difference = f"{b} minus {a}: {_amount(row, row['difference'])}, {interval(row)}"
    if row["p_holm"] is None:
        return f"{what}, exploratory: {difference}; uncorrected {p_text(row['p'])}."
    if row["p_holm"] >= ALPHA:
        return f"No difference between {a} and {b} was shown in {what} ({difference}; {_p(row)}); {_outlook(row)}."
    if is_shown(row):
        return _shown(row, _side(row["difference"]), what)
    return (
        f"{a} and {b} differ in {what} ({_p(row)}), but not in its mean ({difference}): {b} is {_words(row)[0]} in "
        f"{row['b_better']} of {counted(row['images'], 'image')} and {_words(row)[1]} in {row['a_better']}. Look at "
        "the images in which they differ most before one is preferred."
    )


def is_shown(row: Paired) -> bool:
    """Whether the test rejects, and the interval of the mean and the ranks lie on the same side of 0."""
    if row["p_holm"] is None or row["p_holm"] >= ALPHA or not _one_sided(row["ci95"]):
        return False
    return _side(row["difference"]) == _side(row["share_above"] - 0.5)


def _shown(row: Paired, side: int, what: str) -> str:
    metric, _ = metric_of(row["metric"])
    lower = metric is not None and not metric.higher_is_better
    best, other = (row["b"], row["a"]) if (side > 0) != lower else (row["a"], row["b"])
    by = _amount(row, abs(row["difference"]))
    return f"{best} is {_words(row)[0]} than {other} by {by} in {what} ({interval(row, side)}; {_p(row)})."


def _words(row: Paired) -> tuple[str, str]:
    """Of a metric that is not known here nobody knows which way is better."""
    return ("better", "worse") if metric_of(row["metric"])[0] else ("higher", "lower")


def _amount(row: Paired, value: float) -> str:
    metric, _ = metric_of(row["metric"])
    return number(value) + (f" {metric.unit}" if metric and metric.unit else "")


def _side(value: float) -> int:
    return (value > 0) - (value < 0)


def _one_sided(bounds: Sequence[float] | None) -> bool:
    return bounds is not None and (bounds[0] > 0 or bounds[1] < 0)


def _p(row: Paired) -> str:
    return ("Holm-corrected " if row["family"] > 1 else "") + p_text(row["p_holm"])


def _outlook(row: Paired) -> str:
    if row["groups_needed"] is None:
        return "it goes both ways alike, so no number of images would show it"
    about = "" if row["groups_needed"] > _MOST else "about "
    few = row["groups"] < fewest_groups(ALPHA / row["family"])
    so_few = f"{row['groups']} {units(row)} are too few to show any, " if few else ""
    return f"{so_few}it would take {about}{needed_text(row)} {units(row)} to show one of this size"


def methods(count: int, pairs: Sequence[Paired], split: str | None) -> str:
    """What a methods section says of the comparison of so many networks."""
    first, of_pairs = pairs[0], count * (count - 1) // 2
    *others, last = dict.fromkeys(noun(row["metric"]) for row in pairs)
    names = f"{', '.join(others)} and {last}" if others else last
    images, groups = counted(first["images"], "image"), counted(first["groups"], "group")
    several = first["images"] != first["groups"]
    means = " on the groups' mean differences, since images of one group are not independent" if several else ""
    level, family = f"{ALPHA:g}", "One hypothesis was tested."
    if len(pairs) > 1:
        level += " divided by the number of tests"
        family = (
            f"p values were corrected by Holm's method over the family of {len(pairs)} tests "
            f"({counted(of_pairs, 'pair')} x {counted(len(pairs) // of_pairs, 'score')})."
        )
    sentences = (
        f"{names[:1].upper()}{names[1:]} {'were' if others else 'was'} compared image by image on the {images}"
        f"{f' of {groups}' if several else ''} of {'all splits' if split == ALL else f'the {split} split'}.",
        _INTERVALS if first["groups"] != 1 else "There are no intervals, as there is one group.",
        "Differences were tested by the two-sided Wilcoxon signed-rank test "
        f"(SciPy {version('scipy')}; zeros by Pratt's method){means}.",
        family,
        f"The numbers needed are for a power of {100 * POWER:.0f} % at a level of {level} (Noether 1987), were "
        "differences distributed as those observed.",
    )
    return " ".join(sentences)
