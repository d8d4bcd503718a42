from __future__ import annotations

import numpy as np
import pytest
import SimpleITK
import torch
from hypothesis import given
from masks import FEW, Mask, cases, measured
from monai.metrics import (
    CumulativeIterationMetric,
    DiceMetric,
    HausdorffDistanceMetric,
    MeanIoU,
    SurfaceDiceMetric,
    SurfaceDistanceMetric,
)
from sklearn import metrics as sklearn

from delineate.pipelines.evaluation.case import Case
from delineate.pipelines.evaluation.metrics import METRICS

# MONAI gives its own function an argument that it warns of
monai_warns = pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")

# --- MONAI's classes -----------------------------------------------------------------------------------------


def of_monai(metric: CumulativeIterationMetric, case: Case, **options: object) -> float:
    masks = (torch.from_numpy(mask[None, None]).float() for mask in (case.prediction, case.reference))
    return float(metric(*masks, **options))


def equal_those_of_monai(case: Case) -> None:
    """Distances to the bit, which MONAI rounds to 32."""
    found = {name.removesuffix("_mm").removesuffix("_pixels"): value for name, value in measured(case).items()}
    spacing = None if case.spacing is None else list(case.spacing)
    hausdorff = HausdorffDistanceMetric(include_background=True, percentile=95)
    assert of_monai(hausdorff, case, spacing=spacing) == found["hd95"]
    surface = SurfaceDistanceMetric(include_background=True, symmetric=True)
    assert of_monai(surface, case, spacing=spacing) == found["msd"]
    tolerances = {
        "nsd_1_percent": 0.01 * case.diagonal,
        "nsd_2_percent": 0.02 * case.diagonal,
        "nsd": case.tolerance_mm,
    }
    for name, tolerance in tolerances.items():
        if name in found:
            dice = SurfaceDiceMetric([tolerance], include_background=True, use_subvoxels=True)
            assert of_monai(dice, case, spacing=spacing) == pytest.approx(found[name], rel=1e-6)
    for kind, name in ((DiceMetric, "mean_dice"), (MeanIoU, "mean_iou")):
        assert of_monai(kind(), case) == np.float32(found[name])


@monai_warns
@FEW
@given(cases())
def test_images_score_as_with_monai(case: Case) -> None:
    equal_those_of_monai(case)


@monai_warns
@FEW
@given(cases(axes=3))
def test_volumes_score_as_with_monai(case: Case) -> None:
    equal_those_of_monai(case)


# --- SimpleITK -----------------------------------------------------------------------------------------------


SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # of a few pixels


def of_itk(mask: Mask, case: Case) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(np.pad(mask, 1).astype(np.uint8))
    image.SetSpacing(case.steps[::-1])  # ITK's axes run from columns to rows
    return image


@FEW
@given(cases())
def test_distances_between_edges_are_those_of_itk(case: Case) -> None:
    # ITK measures between all pixels of two masks, so it is given the edges, which it draws itself
    edges = [SimpleITK.BinaryContour(of_itk(mask, case), False) for mask in (case.prediction, case.reference)]
    hausdorff = SimpleITK.HausdorffDistanceImageFilter()
    hausdorff.Execute(*edges)
    assert hausdorff.GetHausdorffDistance() == pytest.approx(max(d.max() for d in case.distances), rel=1e-5)
    means = [distance.mean() for distance in case.distances]
    assert hausdorff.GetAverageHausdorffDistance() == pytest.approx(np.mean(means), rel=1e-5)


@FEW
@given(cases())
def test_overlaps_are_those_of_itk(case: Case) -> None:
    overlap = SimpleITK.LabelOverlapMeasuresImageFilter()
    overlap.Execute(of_itk(case.reference, case), of_itk(case.prediction, case))
    found = measured(case)
    assert overlap.GetDiceCoefficient() == pytest.approx(found["mean_dice"])
    assert overlap.GetJaccardCoefficient() == pytest.approx(found["mean_iou"])


# --- scikit-learn --------------------------------------------------------------------------------------------


@FEW
@given(cases())
def test_counts_of_pixels_are_those_of_scikit_learn(case: Case) -> None:
    reference, prediction = case.reference.ravel(), case.prediction.ravel()
    expected = {
        "mean_dice": sklearn.f1_score(reference, prediction),
        "mean_iou": sklearn.jaccard_score(reference, prediction),
        "precision": sklearn.precision_score(reference, prediction),
        "recall": sklearn.recall_score(reference, prediction),
        "specificity": sklearn.recall_score(reference, prediction, pos_label=False, zero_division=1.0),
        "pixel_accuracy": sklearn.accuracy_score(reference, prediction),
    }
    assert {name: METRICS[name].score(case) for name in expected} == pytest.approx(expected)
