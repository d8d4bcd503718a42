from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from delineate.pipelines.comparison.judged import Judged

FOLDS = [
    {"fold": fold, "seed": seed, "bundle": {"path": f"/cv/seed_{seed}/fold_{fold}/run", "hash": f"{seed}{fold}"}}
    for seed in (0, 1)
    for fold in (0, 1)
]


def of(folds: list[dict[str, Any]]) -> Judged:
    metrics = {"bundle": {"hash": "own"}, "cross_validation": {"of_each": folds}}
    return Judged("a", Path("/a"), metrics, [], Path("/run"))


@pytest.mark.parametrize(
    ("folds", "row", "network"),
    [
        (FOLDS[:2], {"fold": "1"}, (Path("/cv/seed_0/fold_1/run"), "01")),
        (FOLDS, {"fold": "1", "seed": "0"}, (Path("/cv/seed_0/fold_1/run"), "01")),
        (FOLDS, {"fold": "1", "seed": "1"}, (Path("/cv/seed_1/fold_1/run"), "11")),
        ([{"fold": 0, "seed": 0}], {"fold": "0"}, (None, None)),
        ([], {"fold": "0"}, (Path("/run"), "own")),
    ],
    ids=["a fold", "a fold of the first seed", "a fold of another seed", "of before runs were named", "one network"],
)
def test_an_image_is_outlined_by_the_network_of_its_fold_and_seed(
    folds: list[dict[str, Any]], row: dict[str, str], network: tuple[Path | None, str | None]
) -> None:
    assert of(folds).network_of(row) == network
