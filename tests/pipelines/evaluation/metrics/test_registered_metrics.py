from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

from delineate.pipelines.bundling.bundles import shipped_bundles
from delineate.pipelines.evaluation.metrics import METRICS, empty_policy, title_of
from delineate.pipelines.evaluation.per_structure import PerStructure

EMPTY, FULL = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
HALF = torch.cat([EMPTY[..., :4], FULL[..., 4:]], -1)
PAIRS = {"rightly empty": (EMPTY, EMPTY), "hallucinated": (FULL, EMPTY), "missed": (EMPTY, FULL)}


def scored(name: str, pred: torch.Tensor, label: torch.Tensor) -> float:
    metric = METRICS[name].create()
    return float(metric(pred, label))


@pytest.mark.parametrize("name", METRICS)
def test_an_entry_is_found_by_the_name_it_has(name: str) -> None:
    assert METRICS[name].name == name
    assert title_of(name).startswith(METRICS[name].title)
    assert METRICS[name].needs_spacing == bool(METRICS[name].unit)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_gives_one_value_an_image_and_structure(name: str) -> None:
    draw = torch.Generator().manual_seed(0)
    pred, label = (torch.rand(3, 2, 9, 7, generator=draw).round() for _ in range(2))
    assert METRICS[name].create()(pred, label).shape == (3, 2)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("kind", ["hallucinated", "missed"])
def test_empty_masks_where_none_belong_are_worse_than_where_they_do(name: str, kind: str) -> None:
    sign = 1 if METRICS[name].higher_is_better else -1
    perfect, right, wrong = (scored(name, *pair) for pair in ((HALF, HALF), PAIRS["rightly empty"], PAIRS[kind]))
    assert right == perfect
    assert sign * wrong < sign * right


@pytest.mark.parametrize("name", METRICS)
def test_the_direction_is_that_of_the_values(name: str) -> None:
    sign = 1 if METRICS[name].higher_is_better else -1
    assert sign * scored(name, HALF, HALF) > sign * scored(name, FULL, HALF)


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
        registered = METRICS[name.removeprefix("val_")].create()
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
