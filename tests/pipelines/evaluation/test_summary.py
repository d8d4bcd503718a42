from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from delineate.pipelines.evaluation.intervals import mean_with_interval
from delineate.pipelines.evaluation.metrics import METRICS
from delineate.pipelines.evaluation.rows import score_masks
from delineate.pipelines.evaluation.scored import Evaluation
from delineate.pipelines.evaluation.summary import summarise
from delineate.pipelines.evaluation.text import report_text

SIDE = 10


def square(height: int, left: int = 0) -> np.ndarray:
    mask = np.zeros((1, SIDE, SIDE), np.uint8)
    mask[:, :height, left : left + 5] = 1
    return mask


def of(
    *pairs: tuple[np.ndarray, np.ndarray], settings: dict[str, Any] | None = None, **columns: list[str]
) -> Evaluation:
    rows = [
        {"image": f"{index}.png", **{name: values[index] for name, values in columns.items()}}
        | score_masks(prediction, reference, [""])
        for index, (prediction, reference) in enumerate(pairs)
    ]
    return Evaluation(rows, list(METRICS), facts={"split": "test", "settings": settings or {}})


FOUND, HALF, ELSEWHERE = (square(4), square(4)), (square(2), square(4)), (square(4, 5), square(4))
MISSED, ALARM, EMPTY = (square(0), square(4)), (square(4), square(0)), (square(0), square(0))


def test_what_became_of_images_is_counted_on_lines_of_its_own() -> None:
    metrics = summarise(of(FOUND, HALF, ELSEWHERE, MISSED, MISSED, ALARM, EMPTY))
    assert metrics["images"] == {
        "found": 3,
        "missed": 2,
        "false_alarm": 1,
        "rightly_empty": 1,
        "found_without_overlap": 1,
    }
    text = report_text(metrics)
    assert "missed (the prediction is empty, the reference is not)      2\n" in text
    assert "false alarm (the reference is empty, the prediction is not) 1\n" in text


def test_pixels_of_all_images_are_added() -> None:
    metrics = summarise(of(HALF, ALARM))
    assert metrics["pixels"] == {
        "true_positive": 10,
        "false_positive": 20,
        "false_negative": 10,
        "true_negative": 160,
    }


def test_lesions_of_all_images_are_added() -> None:
    lesions = summarise(of(FOUND, FOUND, MISSED, ALARM, EMPTY))["lesions"]
    assert (lesions["reference"], lesions["predicted"], lesions["matched"]) == (3, 3, 2)
    assert lesions["precision"] == lesions["recall"] == lesions["f1"] == pytest.approx(2 / 3)


def test_failures_are_below_a_limit_or_above_where_lower_is_better() -> None:
    limits = {"mean_dice": 0.5, "hd95_pixels": 3.0}
    failures = summarise(of(FOUND, HALF, MISSED, EMPTY, settings={"failures": limits}))["failures"]
    assert [(one["metric"], one["count"], one["share"]) for one in failures] == [
        ("mean_dice", 1, 0.25),
        ("hd95_pixels", 1, 0.25),
    ]
    assert failures[0]["below"] == 0.5
    assert failures[1]["above"] == 3
    assert 0 <= failures[0]["ci95"][0] <= 0.25 <= failures[0]["ci95"][1] <= 1


def test_by_default_a_failure_is_a_dice_below_070_or_an_iou_below_065() -> None:
    failures = summarise(of(FOUND, HALF))["failures"]
    assert [(one["metric"], one["below"], one["count"]) for one in failures] == [
        ("mean_dice", 0.7, 1),
        ("mean_iou", 0.65, 1),
    ]


def test_the_distribution_is_that_of_the_images() -> None:
    evaluation = of(FOUND, HALF, MISSED, EMPTY, ALARM)
    score = summarise(evaluation)["mean_dice"]
    dice = [row["mean_dice"] for row in evaluation.rows]
    for name, quantile in (("median", 50), ("q1", 25), ("q3", 75), ("p5", 5), ("p95", 95)):
        assert score[name] == pytest.approx(np.percentile(dice, quantile))
    assert score["count"] == 5


def test_a_subgroup_of_fewer_than_20_images_has_no_mean() -> None:
    classes = ["benign"] * 20 + ["malignant"] * 19
    patients = [str(index // 2) for index in range(39)]
    metrics = summarise(of(*[FOUND] * 20, *[HALF] * 19, **{"class": classes, "group": patients}))
    benign, malignant = metrics["subgroups"]["class"].values()
    assert benign["mean_dice"]["value"] == 1
    assert (benign["count"], benign["groups"]) == (20, 10)
    assert malignant == {"count": 19, "groups": 10}
    assert "Below 20 images no mean is shown." in report_text(metrics)


def test_sizes_are_thirds_of_those_that_have_any_with_empty_ones_apart() -> None:
    pairs = [(square(height), square(height)) for height in (0, 0, 1, 2, 3, 4, 5, 6)]
    sizes = summarise(of(*pairs))["subgroups"]["size"]
    assert {name: found["count"] for name, found in sizes.items()} == {"empty": 2, "small": 2, "medium": 2, "large": 2}
    assert sizes["medium"]["share"] == [0.15, 0.2]


def test_a_column_of_one_value_makes_no_subgroups_unless_it_is_asked_for() -> None:
    columns = {"class": ["benign", "benign"]}
    assert "class" not in summarise(of(FOUND, HALF, **columns))["subgroups"]
    asked = summarise(of(FOUND, HALF, settings={"subgroups": ["class"]}, **columns))["subgroups"]
    assert asked == {"class": {"benign": {"count": 2, "groups": 2}}}


def test_images_of_several_sources_are_scored_apart_without_being_asked() -> None:
    metrics = summarise(of(*[FOUND] * 20, *[HALF] * 20, source=["busi"] * 20 + ["busbra"] * 20))
    means = {name: found["mean_dice"]["value"] for name, found in metrics["subgroups"]["source"].items()}
    assert means["busi"] == 1 > means["busbra"]


def test_images_without_a_value_are_a_subgroup_of_their_own() -> None:
    found = summarise(of(FOUND, HALF, settings={"subgroups": ["site"]}, site=["Oslo", ""]))["subgroups"]["site"]
    assert list(found) == ["Oslo", "not known"]


def test_images_whose_masks_are_drafts_are_counted_and_the_protocol_says_so() -> None:
    metrics = summarise(of(FOUND, HALF, FOUND, draft=[1, 0, 1]))  # type: ignore[list-item]
    assert metrics["drafts"] == 2
    assert "Of 2 images the mask is as Delineate drew it, so the scores may be too good." in metrics["protocol"]


@pytest.mark.parametrize("column", [{}, {"draft": [0, 0]}])
def test_without_drafts_nothing_is_said(column: dict[str, Any]) -> None:
    metrics = summarise(of(FOUND, HALF, **column))
    assert "drafts" not in metrics
    assert "Delineate drew" not in metrics["protocol"]


def test_the_protocol_says_what_a_methods_section_needs() -> None:
    text = summarise(of(FOUND, HALF, group=["a", "a"]))["protocol"]
    for part in ("2 images of 1 group", "split test", "each image's own grid", "Mean Dice", "both empty", "bootstrap"):
        assert part in text
    assert "tolerance" not in text  # no image has a spacing


@pytest.mark.parametrize(("pair", "share"), [(FOUND, 0), (MISSED, 1)], ids=["none", "all"])
def test_where_none_or_all_failed_the_interval_is_the_exact_one_of_the_groups(pair: Any, share: int) -> None:
    metrics = summarise(of(*[pair] * 8, group=list("aabbccdd")))
    found = metrics["failures"][0]
    away = 1 - 0.025 ** (1 / 4)  # of four groups, however many images they have
    assert (found["share"], found["count"]) == (share, 8 * share)
    assert sorted(abs(share - bound) for bound in found["ci95"]) == pytest.approx([0, away])
    assert "exact (Clopper-Pearson) interval of the groups" in metrics["protocol"]


def test_a_share_between_keeps_the_interval_of_the_bootstrap() -> None:
    metrics = summarise(of(FOUND, FOUND, MISSED, FOUND))
    assert metrics["failures"][0]["ci95"] == mean_with_interval([0, 0, 1, 0])["ci95"]
    assert "exact" not in metrics["protocol"]


def test_one_group_has_no_interval_and_the_protocol_claims_none() -> None:
    metrics = summarise(of(FOUND, FOUND, group=["a", "a"]))
    assert (metrics["mean_dice"]["ci95"], metrics["failures"][0]["ci95"]) == (None, None)
    assert metrics["interval"] == "none: there is one group"
    assert "Means have no intervals" in metrics["protocol"]
    assert "95 %" not in metrics["protocol"].replace("95 % Hausdorff", "")


def test_images_unlike_those_of_the_training_are_counted_and_scored() -> None:
    metrics = summarise(of(FOUND, MISSED, FOUND, familiar=[1, 0, None], feature_distance=[0.5, 1.5, None]))  # type: ignore[list-item]
    assert metrics["familiar"] == {"count": 2, "unfamiliar": 1, "share": 0.5}
    assert metrics["mean_dice"]["count"] == 3
    assert "1 of 2 were unlike the training images, and count." in metrics["protocol"]


def test_nothing_is_said_of_a_bundle_that_does_not_compare_images() -> None:
    metrics = summarise(of(FOUND))
    assert "familiar" not in metrics
    assert "unlike" not in metrics["protocol"]
