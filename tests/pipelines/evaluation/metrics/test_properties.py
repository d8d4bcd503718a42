from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from masks import FEW, SPACINGS, cases, measured

from delineate.pipelines.evaluation.case import Case
from delineate.pipelines.evaluation.metrics import METRICS

SWAPPED = {"precision": "recall", "recall": "precision"}
SWAPPED |= {f"lesion_{name}": f"lesion_{other}" for name, other in SWAPPED.items()}
OF_THE_REFERENCE = {"specificity", "area_error"}  # whose size is in the denominator


@FEW
@given(cases(empty=True))
def test_prediction_and_reference_may_be_exchanged(case: Case) -> None:
    exchanged = measured(Case(case.reference, case.prediction, case.spacing, case.tolerance_mm))
    found = measured(case)
    for name in found.keys() - OF_THE_REFERENCE:
        assert found[name] == pytest.approx(exchanged[SWAPPED.get(name, name)], rel=1e-6)


@FEW
@given(cases(empty=True))
def test_flips_change_nothing(case: Case) -> None:
    found = measured(case)
    for flip in (np.flipud, np.fliplr):
        flipped = Case(flip(case.prediction), flip(case.reference), case.spacing, case.tolerance_mm)
        assert measured(flipped) == pytest.approx(found, rel=1e-6)


@FEW
@given(cases(empty=True))
def test_transposition_with_its_spacing_changes_nothing(case: Case) -> None:
    spacing = case.spacing and case.spacing[::-1]
    transposed = Case(case.prediction.T, case.reference.T, spacing, case.tolerance_mm)
    assert measured(transposed) == pytest.approx(measured(case), rel=1e-6)


@FEW
@given(cases(empty=True), SPACINGS)
def test_surface_dice_does_not_fall_with_the_tolerance(case: Case, more: float) -> None:
    spacing = case.steps
    found = [
        METRICS["nsd_mm"].score(Case(case.prediction, case.reference, spacing, tolerance))
        for tolerance in (case.tolerance_mm, case.tolerance_mm + more)
    ]
    assert found == sorted(found)
    assert measured(case)["nsd_1_percent"] <= measured(case)["nsd_2_percent"]


@FEW
@given(cases(empty=True))
def test_each_value_is_in_its_range(case: Case) -> None:
    for name, value in measured(case).items():
        assert not name.endswith("_pixels" if case.spacing else "_mm")
        upper = {"mm": case.diagonal, "pixels": case.diagonal, "% of the diagonal": 100}.get(METRICS[name].unit, 1)
        assert 0 <= value <= (math.inf if name == "area_error" else upper)


@FEW
@given(cases(axes=3, empty=True))
def test_volumes_have_the_metrics_of_images(case: Case) -> None:
    found = measured(case)
    assert all(map(math.isfinite, found.values()))
    exchanged = measured(Case(case.reference, case.prediction, case.spacing, case.tolerance_mm))
    for name in ("mean_dice", "hd95_percent", "msd_percent", "nsd_1_percent", "lesion_f1"):
        assert found[name] == pytest.approx(exchanged[name], rel=1e-6)


@FEW
@given(cases())
def test_distances_scale_with_the_pixels(case: Case) -> None:
    twice = Case(case.prediction, case.reference, tuple(2 * step for step in case.steps))
    once = Case(case.prediction, case.reference, case.steps)
    for name in ("hd95_mm", "msd_mm"):
        assert METRICS[name].score(twice) == pytest.approx(2 * METRICS[name].score(once), rel=1e-5)
    for name in ("hd95_percent", "msd_percent"):
        assert METRICS[name].score(twice) == pytest.approx(METRICS[name].score(once), rel=1e-5)
