"""What can be said of a comparison before its networks are trained or evaluated, which takes minutes or hours."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..bundling.settings import workflow_config
from ..core.errors import UnknownNameError, counted
from ..datasets.datalist import Datalist
from ..datasets.splitting.splits import ALL, split_words
from ..evaluation.workflow import known_scores
from ..imaging.item import Item
from ..imaging.structures import structures_of
from .significance import ALPHA, fewest_groups

logger = logging.getLogger(__name__)


def count_tests(compared: int, metrics: Sequence[str]) -> int:
    """How many tests are one family: all pairs, in all scores that are named."""
    return math.comb(compared, 2) * len(set(metrics))


def refuse_unknown_metrics(name: str, bundle: Path, metrics: Sequence[str]) -> None:
    """See that an evaluation of a bundle will have the scores in which it is to be compared.

    Args:
        name: what it is called in the comparison.
        bundle: its folder.
        metrics: columns of ``per_image.csv``.

    Raises:
        UnknownNameError: it will not.
    """
    config = workflow_config(bundle, "evaluate")
    scores, structures = known_scores(config), structures_of(config.get("structures"))
    parts = [one.file_name for one in structures] if len(structures) > 1 else []
    known = [*scores, *(f"{score}_{part}" for score in scores for part in parts)]
    for metric in metrics:
        if metric not in known:
            raise UnknownNameError(f"metric of {name}", metric, known)


def warn_of_few(data: str | Path, split: str | None, fold: int | None, tests: int) -> None:
    """Log that no difference can be shown, where the split has too few groups for the tests.

    Args:
        data: folder with ``datalist.json``.
        split: that is scored, or ``all``; where ``None``, ``test``, or ``validation`` of a fold.
        fold: of a data set with folds, the one that is the validation.
        tests: how many are one family.
    """
    scored = split or ("test" if fold is None else "validation")
    groups = {item.group or str(item.file) for side, item in _sides(data, fold) if scored in (side, ALL)}
    needed = fewest_groups(ALPHA / tests)
    if 0 < len(groups) < needed:
        family = f" in one of {tests} tests" if tests > 1 else ""
        logger.warning(
            f"no difference can be shown on {split_words(scored)} of {data}, whatever the networks are: it has "
            f"{counted(len(groups), 'group')} of images (patients, lesions or volumes), and it takes {needed} or more "
            f"to show one{family}; compare on more images, or cross-validate both and compare that"
        )


def _sides(data: str | Path, fold: int | None) -> Iterator[tuple[str, Item]]:
    """The labelled items with their split, which in a data set with folds depends on the fold."""
    for place, item in Datalist.read(data).labelled():
        yield ("validation" if place.fold is not None and place.fold == fold else place.split), item
