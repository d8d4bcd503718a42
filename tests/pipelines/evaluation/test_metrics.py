from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.bundle import ConfigParser
from monai.metrics import DiceMetric, MeanIoU
from scipy.stats import bootstrap

from delineate.pipelines.bundling.bundles import shipped_bundles
from delineate.pipelines.evaluation.metrics import PixelAccuracy, interval_text, mean_with_interval

VALUES = np.random.default_rng(3).beta(8, 2, 60).tolist()


def masks(*shape: int, seed: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)).round()


# --- pixel accuracy ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_pixel_accuracy_is_that_of_numpy(channels: int) -> None:
    pred, label = masks(4, channels, 9, 7, seed=0), masks(4, channels, 9, 7, seed=1)
    metric = PixelAccuracy()
    expected = (pred.numpy() == label.numpy()).mean(axis=(2, 3))
    np.testing.assert_allclose(metric(pred, label), expected, rtol=1e-6)
    assert float(metric.aggregate()) == pytest.approx(expected.mean())


def test_images_of_several_sizes_count_the_same() -> None:
    metric = PixelAccuracy()
    small, large = torch.zeros(1, 2, 2), torch.zeros(1, 50, 60)
    metric([small, large], [small, 1 - large])
    assert float(metric.aggregate()) == 0.5


def test_pixel_accuracy_starts_anew_after_reset() -> None:
    metric = PixelAccuracy()
    metric(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    metric.reset()
    metric(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
    assert float(metric.aggregate()) == 1


@pytest.mark.parametrize("label", [None, torch.zeros(1, 1, 3, 2)])
def test_pixel_accuracy_refuses_another_shape(label: torch.Tensor | None) -> None:
    with pytest.raises(ValueError, match=r"prediction is \(1, 1, 2, 2\)"):
        PixelAccuracy()(torch.zeros(1, 1, 2, 2), label)


# --- the policy of empty masks -------------------------------------------------------------------------------


def configured(workflow: str, name: str) -> Any:
    """The metric that the shipped bundles score with."""
    parser = ConfigParser()
    parser.read_config(str(shipped_bundles()["skin_lesion"] / "configs" / f"{workflow}.yaml"))
    found = {}
    for id_ in ("validate::key_metric", "validate::additional_metrics", "key_metric", "additional_metrics"):
        try:
            found |= {key: f"{id_}::{key}::metric_fn" for key in parser[id_]}
        except KeyError:
            continue
    return parser.get_parsed_content(found[name])


METRICS = [
    ("evaluate", "mean_dice", DiceMetric),
    ("evaluate", "mean_iou", MeanIoU),
    ("train", "val_mean_dice", DiceMetric),
    ("train", "val_mean_iou", MeanIoU),
]
EMPTY, FULL = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)


@pytest.mark.parametrize(("workflow", "name", "kind"), METRICS)
@pytest.mark.parametrize(
    ("pred", "label", "score"),
    [(EMPTY, EMPTY, 1.0), (FULL, EMPTY, 0.0), (EMPTY, FULL, 0.0), (FULL, FULL, 1.0)],
    ids=["rightly empty", "hallucinated", "missed", "perfect"],
)
def test_no_empty_mask_is_left_out(
    workflow: str, name: str, kind: type, pred: torch.Tensor, label: torch.Tensor, score: float
) -> None:
    metric = configured(workflow, name)
    assert type(metric) is kind
    metric(pred, label)
    assert float(metric.aggregate()) == score


def test_a_hallucination_pulls_the_mean_down() -> None:
    metric = configured("evaluate", "mean_dice")
    for pred, label in ((FULL, FULL), (FULL, EMPTY)):
        metric(pred, label)
    assert float(metric.aggregate()) == 0.5


# --- the interval --------------------------------------------------------------------------------------------


def test_equal_values_have_an_interval_without_width() -> None:
    assert mean_with_interval([0.75] * 9) == {"value": 0.75, "ci95": [0.75, 0.75]}


def test_one_group_has_no_interval() -> None:
    score = mean_with_interval([0.25, 0.75], ["volume", "volume"])
    assert score == {"value": 0.5, "ci95": None}
    assert interval_text(score) == "unknown: one group"


def test_the_interval_is_that_of_scipy() -> None:
    theirs = bootstrap((VALUES,), np.mean, method="percentile", n_resamples=10_000, rng=1).confidence_interval
    ours = mean_with_interval(VALUES)
    assert ours["value"] == pytest.approx(np.mean(VALUES))
    assert ours["ci95"] == pytest.approx([theirs.low, theirs.high], abs=0.002)


def test_the_interval_comes_close_to_the_normal_one() -> None:
    half = 1.96 * np.std(VALUES) / np.sqrt(len(VALUES))
    low, high = mean_with_interval(VALUES)["ci95"]
    assert (high - low) / 2 == pytest.approx(half, rel=0.05)


def test_groups_of_alike_images_widen_the_interval() -> None:
    repeated = np.repeat(VALUES[:15], 4).tolist()
    groups = [str(i // 4) for i in range(60)]
    apart, together = (mean_with_interval(repeated, g, resamples=2000)["ci95"] for g in (None, groups))
    assert together[1] - together[0] > 1.7 * (apart[1] - apart[0])  # a quarter of the evidence: twice as wide


def test_groups_of_one_change_nothing() -> None:
    groups = [f"{i:03d}" for i in range(len(VALUES))]
    assert mean_with_interval(VALUES, groups, 500) == mean_with_interval(VALUES, None, 500)


def test_a_large_group_counts_by_its_images() -> None:
    groups = [str(i) for i in range(20) for _ in range(3)] + [str(i) for i in range(20, 40)]
    low, high = mean_with_interval([1.0] * 60 + [0.0] * 20, groups, 500)["ci95"]
    assert 0.5 < low < 0.75 < high  # the mean of the groups' means would be one half


def test_the_seed_decides_the_draws() -> None:
    one, again, other = (mean_with_interval(VALUES, None, 200, seed) for seed in (1, 1, 2))
    assert one == again
    assert one["ci95"] != other["ci95"]


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
@settings(max_examples=30, deadline=None)
def test_the_interval_lies_within_the_values(values: list[float]) -> None:
    low, high = mean_with_interval(values, resamples=100)["ci95"]
    assert min(values) - 1e-12 <= low <= high <= max(values) + 1e-12


@pytest.mark.parametrize(("values", "groups"), [([], None), ([1.0], []), ([1.0], ["a", "b"])])
def test_no_values_or_other_groups_are_refused(values: list[float], groups: list[str] | None) -> None:
    with pytest.raises(ValueError, match=f"got {len(values)} values"):
        mean_with_interval(values, groups)
