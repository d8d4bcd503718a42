from __future__ import annotations

import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from monai.bundle import ConfigParser

import delineate
from delineate.pipelines.bundling.bundles import shipped_bundles
from delineate.pipelines.evaluation.case import Case
from delineate.pipelines.evaluation.metrics import METRICS, empty_policy, measure, title_of
from delineate.pipelines.evaluation.per_structure import PerStructure

EMPTY, FULL = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
HALF = torch.cat([EMPTY[..., :4], FULL[..., 4:]], -1)
PAIRS = {"rightly empty": (EMPTY, EMPTY), "hallucinated": (FULL, EMPTY), "missed": (EMPTY, FULL)}
OF_MONAI = [name for name, metric in METRICS.items() if metric.create]
# these give what they give of any masks: most of an image without a lesion is background, whatever was drawn
COUNTING_BACKGROUND = ["specificity", "pixel_accuracy"]


def cases(pred: torch.Tensor, label: torch.Tensor) -> list[Case]:
    """With and without a spacing, so that each metric applies to one of them."""
    masks = (pred[0, 0].numpy() > 0, label[0, 0].numpy() > 0)
    return [Case(*masks), Case(*masks, spacing=(0.5, 0.5), tolerance_mm=0.5)]


def scored(name: str, pred: torch.Tensor, label: torch.Tensor) -> float:
    values = [METRICS[name].score(case) for case in cases(pred, label)]
    return next(value for value in values if value is not None)


@pytest.mark.parametrize("name", METRICS)
def test_an_entry_is_found_by_the_name_it_has(name: str) -> None:
    assert METRICS[name].name == name
    assert title_of(name).startswith(METRICS[name].title)
    assert METRICS[name].source.startswith("10.")


def test_the_metrics_stand_in_the_order_of_tables() -> None:
    assert list(METRICS) == [
        *("mean_dice", "mean_iou", "precision", "recall", "specificity", "pixel_accuracy"),
        *("hd95_percent", "hd95_mm", "hd95_pixels", "msd_percent", "msd_mm", "msd_pixels"),
        *("nsd_1_percent", "nsd_2_percent", "nsd_mm", "area_error"),
        *("lesion_precision", "lesion_recall", "lesion_f1"),
    ]


def test_millimetres_are_given_where_the_spacing_is_known_and_pixels_where_it_is_not() -> None:
    without, with_spacing = (measure(case) for case in cases(FULL, HALF))
    assert {name for name, value in without.items() if value is None} == {"hd95_mm", "msd_mm", "nsd_mm"}
    assert {name for name, value in with_spacing.items() if value is None} == {"hd95_pixels", "msd_pixels"}


@pytest.mark.parametrize("name", OF_MONAI)
def test_the_metric_of_a_bundle_gives_one_value_an_image_and_structure(name: str) -> None:
    draw = torch.Generator().manual_seed(0)
    pred, label = (torch.rand(3, 2, 9, 7, generator=draw).round() for _ in range(2))
    create = METRICS[name].create
    assert create is not None
    found = create()(pred, label)
    assert found.shape == (3, 2)
    own = [[scored(name, pred[[i]][:, [s]], label[[i]][:, [s]]) for s in range(2)] for i in range(3)]
    torch.testing.assert_close(found, torch.tensor(own))


@pytest.mark.parametrize("name", [name for name in METRICS if name not in COUNTING_BACKGROUND])
@pytest.mark.parametrize("kind", ["hallucinated", "missed"])
def test_empty_masks_where_none_belong_are_worse_than_where_they_do(name: str, kind: str) -> None:
    sign = 1 if METRICS[name].higher_is_better else -1
    perfect, right, wrong = (scored(name, *pair) for pair in ((HALF, HALF), PAIRS["rightly empty"], PAIRS[kind]))
    assert right == perfect
    assert sign * wrong < sign * right


@pytest.mark.parametrize("name", COUNTING_BACKGROUND)
def test_metrics_that_count_background_take_empty_masks_as_they_are(name: str) -> None:
    assert scored(name, EMPTY, EMPTY) == 1
    assert scored(name, FULL, EMPTY) == 0
    assert scored(name, HALF, EMPTY) == 0.5
    assert scored(name, EMPTY, HALF) == (1 if name == "specificity" else 0.5)


@pytest.mark.parametrize("pred", [EMPTY, HALF, FULL])
@pytest.mark.parametrize("label", [EMPTY, HALF, FULL])
def test_each_value_is_finite(pred: torch.Tensor, label: torch.Tensor) -> None:
    assert all(math.isfinite(scored(name, pred, label)) for name in METRICS)


@pytest.mark.parametrize("name", [name for name in METRICS if name != "recall"])
def test_the_direction_is_that_of_the_values(name: str) -> None:
    sign = 1 if METRICS[name].higher_is_better else -1
    lesions = name.startswith("lesion")
    worse = torch.cat([FULL[..., :1], EMPTY[..., 1:]], -1) if lesions else FULL
    assert sign * scored(name, HALF, HALF) > sign * scored(name, worse, HALF)


def test_the_documentation_says_of_each_metric_what_it_is() -> None:
    text = (Path(delineate.__file__).parent / "docs" / "metrics.md").read_text(encoding="utf-8")
    table = [re.split(r" ?(?<!\\)\| ?", line)[1:-1] for line in text.splitlines() if line.startswith("| `")]
    assert [row[0].strip("`") for row in table] == list(METRICS)
    for (_, _, unit, better, both, one, source), metric in zip(table, METRICS.values(), strict=True):
        empty_one = (
            metric.one_empty if not callable(metric.one_empty) else {"": "as computed"}.get(unit, "the diagonal")
        )
        assert (unit, better) == (metric.unit, "higher" if metric.higher_is_better else "lower")
        assert (both, one) == (f"{metric.both_empty:g}", empty_one if isinstance(empty_one, str) else f"{empty_one:g}")
        assert source == f"[{metric.source}](https://doi.org/{metric.source})"


@pytest.mark.parametrize("name", METRICS)
def test_the_policy_of_empty_masks_is_stated(name: str) -> None:
    assert empty_policy([name]) == METRICS[name].empty


def test_policies_that_differ_are_stated_of_each_metric() -> None:
    text = empty_policy(["mean_dice", "hausdorff", "mean_iou"])
    assert text.startswith("mean_dice, mean_iou: an empty prediction of an empty reference scores 1, any other ")
    assert text.endswith("; hausdorff: as its documentation says")


def test_a_metric_that_is_not_registered_is_called_by_its_name() -> None:
    assert title_of("surface_dice") == "surface_dice"


# --- what the shipped bundles score with ---------------------------------------------------------------------


def configured(workflow: str) -> dict[str, Any]:
    parser = ConfigParser()
    parser.read_config(str(shipped_bundles()["skin_lesion"] / "configs" / f"{workflow}.yaml"))
    prefix = "validate::" if workflow == "train" else ""
    found = {}
    for id_ in (f"{prefix}key_metric", f"{prefix}additional_metrics"):
        found |= {name: parser.get_parsed_content(f"{id_}::{name}::metric_fn") for name in parser[id_]}
    return found


@pytest.mark.parametrize("workflow", ["train", "evaluate"])
def test_the_shipped_bundles_score_with_registered_metrics(workflow: str) -> None:
    for name, metric in configured(workflow).items():
        create = METRICS[name.removeprefix("val_")].create
        assert create is not None
        registered = create()
        assert isinstance(metric, PerStructure)
        assert type(metric.metric) is type(registered)
        plain = {key: value for key, value in vars(registered).items() if isinstance(value, bool | str)}
        assert {key: vars(metric.metric)[key] for key in plain} == plain


@pytest.mark.parametrize("workflow", ["train", "evaluate"])
@pytest.mark.parametrize(("kind", "score"), [("rightly empty", 1), ("hallucinated", 0), ("missed", 0)])
def test_no_empty_mask_is_left_out(workflow: str, kind: str, score: float) -> None:
    for metric in configured(workflow).values():
        metric(*PAIRS[kind])
        assert float(metric.aggregate()) == score


def test_a_hallucination_pulls_the_mean_down() -> None:
    metric = configured("evaluate")["mean_dice"]
    for pred, label in ((FULL, FULL), (FULL, EMPTY)):
        metric(pred, label)
    assert float(metric.aggregate()) == 0.5


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_of_counts_is_one_that_needs_nothing_else(name: str) -> None:
    """So that a volume's is that of the added counts of its slices."""

    def score(case: Any) -> float | None:
        return METRICS[name].score(cast(Case, SimpleNamespace(counts=case.counts, empty=case.empty, spacing=None)))

    case, _ = cases(FULL, HALF)
    if METRICS[name].of_counts:
        assert score(case) == METRICS[name].score(case)
    elif not METRICS[name].needs_spacing:
        with pytest.raises(AttributeError):
            score(case)
