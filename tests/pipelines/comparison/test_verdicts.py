from __future__ import annotations

from typing import Any

import pytest

from delineate.pipelines.comparison.outputs import TITLES, cells
from delineate.pipelines.comparison.verdicts import is_shown, methods, noun, number, p_text, verdict

ROW: dict[str, Any] = {
    **{"a": "A", "b": "B", "metric": "mean_dice", "structure": "", "images": 90, "groups": 40, "family": 3},
    **{"difference": 0.0213, "ci95": [0.0101, 0.0332], "p": 0.001, "p_holm": 0.0021, "share_above": 0.7},
    **{"a_better": 30, "b_better": 55, "ties": 5, "groups_needed": 35},
}
MIRRORED = {"difference": -0.0213, "ci95": [-0.0332, -0.0101], "share_above": 0.3}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {},
            "B is better than A by 0.021 in mean Dice (95 % interval 0.010 to 0.033; Holm-corrected p = 0.002).",
        ),
        (
            {**MIRRORED, "family": 1},
            "A is better than B by 0.021 in mean Dice (95 % interval 0.010 to 0.033; p = 0.002).",
        ),
        (
            {"p_holm": 0.31, "ci95": [-0.003, 0.042], "groups_needed": 412},
            "No difference between A and B was shown in mean Dice (B minus A: 0.021, 95 % interval -0.003 to 0.042; "
            "Holm-corrected p = 0.310); it would take about 412 groups to show one of this size.",
        ),
        (
            {"p_holm": 0.31, "groups_needed": 3_000_000, "groups": 90},
            "No difference between A and B was shown in mean Dice (B minus A: 0.021, 95 % interval 0.010 to 0.033; "
            "Holm-corrected p = 0.310); it would take more than 100,000 images to show one of this size.",
        ),
        (
            {"p_holm": 1.0, "groups": 5, "images": 5, "ties": 0, "groups_needed": 13},
            "No difference between A and B was shown in mean Dice (B minus A: 0.021, 95 % interval 0.010 to 0.033; "
            "Holm-corrected p = 1.000); 5 images are too few to show any, it would take about 13 images to show one of "
            "this size.",
        ),
        (
            {"p_holm": 1.0, "groups_needed": None},
            "No difference between A and B was shown in mean Dice (B minus A: 0.021, 95 % interval 0.010 to 0.033; "
            "Holm-corrected p = 1.000); it goes both ways alike, so no number of images would show it.",
        ),
        (
            {"metric": "unheard_of"},
            "B is higher than A by 0.021 in unheard_of (95 % interval 0.010 to 0.033; Holm-corrected p = 0.002).",
        ),
    ],
    ids=["better", "worse", "not shown", "never", "too few", "balanced", "unknown metric"],
)
def test_it_says_plainly_what_was_found(changes: dict[str, Any], sentence: str) -> None:
    assert verdict({**ROW, **changes}) == sentence


@pytest.mark.parametrize("changes", [{"ci95": [-0.01, 0.05]}, {"share_above": 0.3}, {"ci95": None}], ids=str)
def test_where_ranks_and_mean_disagree_nothing_is_called_better_than_the_other(changes: dict[str, Any]) -> None:
    said = verdict({**ROW, **changes})
    assert "better than" not in said
    assert "B is better in 55 of 90 images and worse in 30" in said


def test_a_structure_is_part_of_its_metrics_name() -> None:
    assert noun("mean_dice_left_lung") == "mean Dice of left lung"
    assert noun("mean_iou", "heart") == "mean IoU of heart"


def test_numbers_are_not_rounded_onto_what_they_are_judged_by() -> None:
    assert p_text(0.0498) == "p = 0.0498"
    assert p_text(0.0502) == "p = 0.0502"
    assert p_text(0.00004) == "p < 0.001"
    assert number(0.00042) == "0.00042"


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, True),
        (MIRRORED, True),
        ({"p_holm": 0.05}, False),
        ({"p_holm": None}, False),
        ({"ci95": [-0.001, 0.05]}, False),
        ({"ci95": None}, False),
        ({"share_above": 0.3}, False),
    ],
    ids=["above", "below", "not rejected", "exploratory", "interval holds 0", "no interval", "ranks disagree"],
)
def test_a_difference_is_shown_where_test_interval_and_ranks_agree(changes: dict[str, Any], shown: bool) -> None:
    assert is_shown({**ROW, **changes}) is shown


def test_only_a_difference_that_is_not_shown_needs_more_groups() -> None:
    row = {**ROW, "a_mean": 0.8, "b_mean": 0.82}
    needed = [cells({**row, **more})[TITLES.index("needed")] for more in ({}, {"p_holm": 0.3}, {"p_holm": None})]
    assert needed == ["-", "35 groups", "35 groups"]


def test_the_methods_claim_no_intervals_of_one_group() -> None:
    said = [methods(2, [{**ROW, "groups": groups}], "test") for groups in (1, 40)]
    assert ["percentile bootstrap" in text for text in said] == [False, True]


def test_the_methods_name_one_score_or_several() -> None:
    rows = [{**ROW, "metric": name} for name in ("mean_dice", "mean_iou")]
    assert methods(2, rows[:1], "test").startswith("Mean Dice was compared image by image")
    assert methods(2, rows, "test").startswith("Mean Dice and mean IoU were compared image by image")
