from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from delineate.pipelines.bundling.bundles import WORKFLOWS, change_bundle, new_bundle, shipped_bundles
from delineate.pipelines.bundling.settings import refuse_unknown, refuse_wrong_values
from delineate.pipelines.core.errors import DelineateError, UnknownNameError, WrongValueError


def config(bundle: Path, workflow: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((bundle / "configs" / f"{workflow}.yaml").read_text(encoding="utf-8"))
    return loaded


SKIN = shipped_bundles()["skin_lesion"]


@pytest.mark.parametrize("workflow", WORKFLOWS)
@pytest.mark.parametrize("name", shipped_bundles())
def test_what_a_shipped_bundle_says_fits(name: str, workflow: str) -> None:
    refuse_wrong_values(config(shipped_bundles()[name], workflow))


@pytest.mark.parametrize(
    ("name", "value", "needs"),
    [
        ("max_epochs", "abc", "a whole number of 1 or more, e.g. 20"),
        ("max_epochs", 0, "a whole number of 1 or more"),
        ("max_epochs", -3, "a whole number of 1 or more"),
        ("max_epochs", True, "a whole number of 1 or more"),
        ("max_epochs", 2.5, "a whole number of 1 or more"),
        ("batch_size", 0, "a whole number of 1 or more"),
        ("failures", {"mean_dice": float("nan")}, "a number for each score"),
        ("seed", "x", "a whole number of 0 or more"),
        ("epoch_length", 0, "a whole number of 1 or more, or null"),
        ("learning_rate", "fast", "a number above 0"),
        ("learning_rate", float("nan"), "a number above 0"),
        ("threshold", "abc", "a probability, 0 to 1"),
        ("threshold", 7, "a probability, 0 to 1"),
        ("threshold", -0.1, "a probability, 0 to 1"),
        ("precision", "float16", "auto, float32 or bfloat16"),
        ("channels", "rgba", "rgb or grey"),
        ("image_size", 64, "rows and columns, e.g. image_size=[256, 256]"),
        ("image_size", [0, 0], "rows and columns"),
        ("image_size", [64, 64, 64], "rows and columns"),
        ("window", ["a", 64], "rows and columns"),
        ("overlay", "yes please", "true or false"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_taken(name: str, value: Any, needs: str) -> None:
    with pytest.raises(WrongValueError) as refused:
        refuse_wrong_values({name: value})
    assert str(refused.value).startswith(f"{name} is {value!r}; set {needs}")


@pytest.mark.parametrize(
    "settings",
    [
        {"threshold": 0, "learning_rate": 1e-3, "patience": 0},
        {"epoch_length": None, "cache_budget_gb": None, "fold": None},
        {"image_size": (64, 32), "window": "@image_size"},
        {"device": "cpu", "precision": "$'float32'", "max_epochs": "@seed"},
        {"my_own": "anything"},
        {"structures": [{"name": "heart"}], "threshold": {"heart": 0.3}},
        {"structures": [{"name": "heart"}], "threshold": None},
        {"structures": "@others", "threshold": 0.3},
    ],
    ids=str,
)
def test_other_values_pass(settings: dict[str, Any]) -> None:
    refuse_wrong_values(settings)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(
        DelineateError, match=r"device is 'cuda:99', and there is no such device here; leave device out"
    ):
        refuse_wrong_values({"device": "cuda:99"})


def test_a_change_of_a_wrong_value_leaves_the_bundle_as_it_was(tmp_path: Path) -> None:
    bundle = new_bundle(tmp_path / "b", "skin_lesion")
    before = config(bundle, "train")
    with pytest.raises(WrongValueError, match="threshold is 5"):
        change_bundle(bundle, {"max_epochs": 3, "threshold": 5})
    assert config(bundle, "train") == before


def test_a_tuple_is_written_as_a_list(tmp_path: Path) -> None:
    bundle = new_bundle(tmp_path / "b", "skin_lesion", settings={"image_size": (64, 32)})
    assert config(bundle, "inference")["image_size"] == [64, 32]


def test_an_unknown_setting_is_answered_with_the_closest_alone() -> None:
    with pytest.raises(UnknownNameError) as refused:
        refuse_unknown(SKIN, config(SKIN, "inference"), "inference", ["threshhold"])
    assert str(refused.value) == "no setting is called 'threshhold'; did you mean 'threshold'?"


def test_a_setting_unlike_any_is_answered_with_the_plain_ones_and_where_all_stand() -> None:
    with pytest.raises(UnknownNameError, match=r"there are, among others: .*threshold.*configs/\*\.yaml") as refused:
        refuse_unknown(SKIN, {**config(SKIN, "train"), "_meta_": {"schema": "x"}}, "train", ["zzz"])
    assert len(str(refused.value)) < 500
    assert "::" not in str(refused.value)
    assert "_meta_" not in str(refused.value)


@pytest.mark.parametrize(("workflow", "stage"), [("inference", "segmentation"), ("evaluate", "evaluation")])
def test_a_setting_of_training_is_called_one(workflow: str, stage: str) -> None:
    with pytest.raises(WrongValueError, match=f"max_epochs is a setting of training, not of {stage}; leave it out"):
        refuse_unknown(SKIN, config(SKIN, workflow), workflow, ["max_epochs"])


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"threshold": None}, "threshold is None; set a probability"),
        ({"threshold": {"heart": 0.3}}, "set a probability"),
        ({"structures": [{"name": "heart"}], "threshold": {"hart": 0.3}}, "did you mean 'heart'"),
        ({"structures": [{"name": "heart"}], "threshold": {"heart": 3}}, "threshold of heart is 3; set a probability"),
        ({"structures": [{"name": "heart"}], "threshold": "high"}, "threshold is 'high'; set a probability"),
    ],
    ids=str,
)
def test_thresholds_by_name_are_of_structures_that_the_bundle_has(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(WrongValueError, match=reason):
        refuse_wrong_values(settings)
