from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from masks import FEW, box, cases, disc

from delineate.pipelines.evaluation.case import Case


def test_pixels_are_counted_by_how_they_agree() -> None:
    case = Case(box((4, 5), (0, 2), (0, 3)), box((4, 5), (1, 3), (0, 3)))
    assert case.counts == (3, 3, 3, 11)


@FEW
@given(cases(empty=True))
def test_each_pixel_is_counted_once(case: Case) -> None:
    assert sum(case.counts) == case.reference.size
    assert min(case.counts) >= 0
    assert case.empty == (not case.prediction.any(), not case.reference.any())


@pytest.mark.parametrize(("spacing", "diagonal"), [(None, 50), ((0.5, 0.5), 25), ((2, 1), 72.111026)])
def test_the_diagonal_is_in_millimetres_where_the_spacing_is_known(spacing: tuple[float, ...], diagonal: float) -> None:
    empty = np.zeros((30, 40), dtype=bool)
    assert Case(empty, empty, spacing).diagonal == pytest.approx(diagonal)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_masks_of_numbers_are_those_of_their_foreground(dtype: type) -> None:
    mask = disc((20, 20), (9, 9), 5)
    case = Case(mask.astype(dtype), mask)
    assert case.counts == Case(mask, mask).counts
    assert case.distances[0].max() == 0


def test_masks_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"prediction is \(4, 5\), reference \(5, 4\)"):
        Case(np.ones((4, 5), dtype=bool), np.ones((5, 4), dtype=bool))


@pytest.mark.parametrize(("shape", "spacing"), [((4, 5), (1.0,)), ((4, 5), (1.0, 1.0, 1.0)), ((4,), None)])
def test_a_spacing_of_other_axes_is_refused(shape: tuple[int, ...], spacing: tuple[float, ...] | None) -> None:
    mask = np.ones(shape, dtype=bool)
    with pytest.raises(ValueError, match="2 or 3 axes with a spacing each are needed"):
        Case(mask, mask, spacing)


@pytest.mark.parametrize("step", [0, -1, math.nan, math.inf])
def test_a_spacing_that_is_no_length_is_refused(step: float) -> None:
    mask = np.ones((4, 5), dtype=bool)
    with pytest.raises(ValueError, match="positive sizes of pixels are needed"):
        Case(mask, mask, (1.0, step))


@FEW
@given(cases())
def test_background_around_the_image_changes_no_surface(case: Case) -> None:
    prediction, reference = (np.pad(mask, ((2, 5), (9, 1))) for mask in (case.prediction, case.reference))
    larger = Case(prediction, reference, case.spacing)
    for own, other in zip(case.distances, larger.distances, strict=True):
        np.testing.assert_array_equal(own, other)
    for own, other in zip(case.surfaces, larger.surfaces, strict=True):
        np.testing.assert_array_equal(own, other)
    assert larger.lesions == case.lesions


# --- lesions -------------------------------------------------------------------------------------------------


def test_components_that_touch_at_a_corner_are_one_lesion() -> None:
    diagonal = np.eye(5, dtype=bool)
    assert Case(diagonal, box((5, 5), (0, 1), (0, 1))).lesions == (1, 1, 0)


def test_components_of_a_volume_that_touch_at_a_corner_are_one_lesion() -> None:
    corners = box((3, 3, 3), (0, 1), (0, 1), (0, 1)) | box((3, 3, 3), (1, 2), (1, 2), (1, 2))
    assert Case(corners, corners).lesions == (1, 1, 1)


@pytest.mark.parametrize(("width", "matched"), [(10, 1), (6, 1), (5, 0), (4, 0), (19, 1), (20, 0)])
def test_a_lesion_is_found_where_the_iou_is_above_a_half(width: int, matched: int) -> None:
    reference, prediction = box((3, 30), (1, 2), (0, 10)), box((3, 30), (1, 2), (0, width))
    assert Case(prediction, reference).lesions == (1, 1, matched)


def test_two_lesions_drawn_as_one_are_not_found() -> None:
    reference = box((5, 30), (1, 3), (0, 10)) | box((5, 30), (1, 3), (12, 22))
    assert Case(box((5, 30), (1, 3), (0, 22)), reference).lesions == (2, 1, 0)


def test_each_lesion_is_matched_with_its_own() -> None:
    reference = box((20, 20), (0, 5), (0, 5)) | box((20, 20), (10, 15), (10, 15)) | box((20, 20), (0, 2), (18, 20))
    prediction = box((20, 20), (0, 5), (1, 5)) | box((20, 20), (10, 15), (11, 16)) | box((20, 20), (18, 20), (0, 3))
    assert Case(prediction, reference).lesions == (3, 3, 2)


@pytest.mark.parametrize(
    ("prediction", "reference", "found"), [(0, 0, (0, 0, 0)), (1, 0, (0, 1, 0)), (0, 1, (1, 0, 0))]
)
def test_an_empty_mask_has_no_lesion(prediction: int, reference: int, found: tuple[int, int, int]) -> None:
    assert Case(np.full((4, 4), prediction > 0), np.full((4, 4), reference > 0)).lesions == found


@FEW
@given(cases(empty=True))
def test_no_lesion_is_matched_twice(case: Case) -> None:
    reference, predicted, matched = case.lesions
    assert matched <= min(reference, predicted)
    assert Case(case.reference, case.prediction).lesions == (predicted, reference, matched)
