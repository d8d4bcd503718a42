from __future__ import annotations

import pytest

from delineate.pipelines.cli.thresholds import parse_thresholds
from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.imaging.structures import structures_of

HEART = {"name": "heart", "threshold": 0.4}


@pytest.mark.parametrize(
    ("words", "threshold"),
    [
        ([], None),
        (["0.4"], 0.4),
        (["heart=0.3"], {"heart": 0.3}),
        (["0.4", "left lung=.7"], {"heart": 0.4, "left lung": 0.7}),
        (["left lung=.7", "0.4", "0.2"], {"heart": 0.2, "left lung": 0.7}),
    ],
)
def test_thresholds_are_given_for_all_or_by_name(words: list[str], threshold: object) -> None:
    assert parse_thresholds(words, structures_of([HEART, {"name": "left lung"}])) == threshold


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["high"], "write a probability, 0 to 1, or one of a structure"),
        (["heart="], "write a probability"),
        (["=0.3"], "names no structure"),
        (["7"], "threshold is 7.0; set a probability"),
        (["nan"], "threshold is nan; set a probability"),
        (["heart=7"], "threshold of heart is 7.0; set a probability"),
        (["hart=0.3"], "did you mean 'heart'"),
    ],
)
def test_other_thresholds_are_refused(words: list[str], reason: str) -> None:
    with pytest.raises(DelineateError, match=reason):
        parse_thresholds(words, structures_of([HEART]))


def test_a_structure_that_has_no_name_takes_no_threshold_by_name() -> None:
    assert parse_thresholds(["0.3"], ()) == 0.3
    with pytest.raises(DelineateError, match="one structure, without a name: write a number"):
        parse_thresholds(["heart=0.3"], ())
