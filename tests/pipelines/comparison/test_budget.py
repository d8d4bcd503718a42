from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from delineate.pipelines.bundling.bundles import part_file, shipped_bundles
from delineate.pipelines.comparison.budget import FEWEST_STEPS, Plan, plan_epochs, time_training
from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.datasets.index import index_dataset
from delineate.pipelines.loading.datasets import load_datalist
from delineate.pipelines.phantoms.images import write_phantoms

seconds = st.floats(1e-3, 100)
budgets = {"step_s": seconds, "validation_s": st.floats(0, 100), "batches": st.integers(1, 2000)}
minutes = st.floats(0.01, 600)


def spent(plan: Plan, step_s: float, validation_s: float) -> float:
    return plan.max_epochs * plan.epoch_length * step_s + plan.max_epochs / plan.val_interval * validation_s


def enough(step_s: float, validation_s: float, minutes: float) -> bool:
    return 60 * minutes >= FEWEST_STEPS * step_s + validation_s


@given(**budgets, minutes=minutes)
def test_a_plan_fits_into_the_budget(step_s: float, validation_s: float, batches: int, minutes: float) -> None:
    assume(enough(step_s, validation_s, minutes))
    assert spent(plan_epochs(step_s, validation_s, batches, minutes), step_s, validation_s) <= 60 * minutes * 1.000001


@given(**budgets, minutes=minutes)
def test_an_epoch_has_a_batch_and_no_more_than_all(
    step_s: float, validation_s: float, batches: int, minutes: float
) -> None:
    assume(enough(step_s, validation_s, minutes))
    plan = plan_epochs(step_s, validation_s, batches, minutes)
    assert 1 <= plan.epoch_length <= batches
    assert min(plan) >= 1


@given(**budgets, minutes=minutes)
def test_the_last_epoch_is_validated(step_s: float, validation_s: float, batches: int, minutes: float) -> None:
    assume(enough(step_s, validation_s, minutes))
    plan = plan_epochs(step_s, validation_s, batches, minutes)
    assert plan.max_epochs % plan.val_interval == 0


@given(**budgets, minutes=minutes)
def test_five_validations_where_they_leave_half_of_the_time(
    step_s: float, validation_s: float, batches: int, minutes: float
) -> None:
    assume(60 * minutes >= max(10.001 * validation_s, 5.001 * (FEWEST_STEPS * step_s + validation_s)))
    plan = plan_epochs(step_s, validation_s, batches, minutes)
    assert plan.max_epochs // plan.val_interval >= 5


@given(**budgets, minutes=minutes)
def test_more_than_five_validations_take_at_most_15_percent(
    step_s: float, validation_s: float, batches: int, minutes: float
) -> None:
    assume(enough(step_s, validation_s, minutes))
    plan = plan_epochs(step_s, validation_s, batches, minutes)
    rounds = plan.max_epochs // plan.val_interval
    assert rounds <= 5 or rounds * validation_s <= 0.15 * 60 * minutes * 1.000001


@given(**budgets, minutes=minutes)
def test_at_most_a_step_an_epoch_and_one_a_validation_are_left_over(
    step_s: float, validation_s: float, batches: int, minutes: float
) -> None:
    assume(enough(step_s, validation_s, minutes))
    plan = plan_epochs(step_s, validation_s, batches, minutes)
    rounds = plan.max_epochs // plan.val_interval
    assert 60 * minutes - spent(plan, step_s, validation_s) <= (plan.max_epochs + rounds) * step_s * 1.000001


@pytest.mark.parametrize(
    ("step_s", "validation_s", "batches", "plan"),
    [
        (0.1, 1.0, 100, Plan(55, 99, 1)),  # an epoch of all batches takes 11 s of 600
        (0.1, 9.0, 100, Plan(60, 85, 6)),  # ten validations take 15 %
        (4.0, 10.0, 100, Plan(5, 27, 1)),  # a slow network: an epoch would take 410 s
        (0.1, 30.0, 100, Plan(45, 100, 9)),  # five validations, though they take 25 %
    ],
)
def test_ten_minutes_are_shared_out(step_s: float, validation_s: float, batches: int, plan: Plan) -> None:
    assert plan_epochs(step_s, validation_s, batches, 10) == plan


def test_too_small_a_budget_is_refused_with_what_it_takes() -> None:
    with pytest.raises(DelineateError, match=r"0\.1 minutes are too few: 6 steps of 2 s .* take 0\.28; give more"):
        plan_epochs(2.0, 5.0, 100, 0.1)


def test_a_trial_tells_the_batches_and_leaves_the_bundle_alone(tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    index_dataset(write_phantoms(tmp_path / "phantoms", 12), out=dataset)
    bundle = shipped_bundles()["skin_lesion"]
    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    values = {"image_size": [32, 32], "batch_size": 2, "network_def::features": [4, 8]}
    trial = time_training(bundle, dataset, values, [part_file("networks", "ultra_light_unet")])
    assert trial.batches == math.ceil(len(load_datalist(dataset, "training")) / 2)
    assert 0 < trial.step_s < math.inf
    assert 0 < trial.validation_s < math.inf
    assert {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()} == before
