from __future__ import annotations

import numpy as np
import pytest
from masks import Mask, box, disc, score

from delineate.pipelines.evaluation.case import Case
from delineate.pipelines.evaluation.metrics import measure

SHAPE = (30, 40)  # a diagonal of 50 pixels
SQUARE = box(SHAPE, (10, 20), (10, 20))
POINT = box(SHAPE, (10, 11), (10, 11))


def shifted(mask: Mask, *by: int) -> Mask:
    return np.roll(mask, by, axis=tuple(range(mask.ndim)))


def test_a_perfect_prediction_is_the_best_of_each_metric() -> None:
    values = measure(Case(SQUARE, SQUARE, (1, 1))) | measure(Case(SQUARE, SQUARE)) | {"nsd_mm": 1, "hd95_mm": 0}
    worst = {name for name, value in values.items() if value == 0}
    assert worst == {"hd95_percent", "hd95_mm", "hd95_pixels", "msd_percent", "msd_pixels", "area_error"}
    assert {value for name, value in values.items() if name not in worst} == {1, None}


def test_a_square_half_beside_its_reference() -> None:
    prediction = shifted(SQUARE, 0, 5)
    expected = {
        **{"mean_dice": 0.5, "mean_iou": 1 / 3, "precision": 0.5, "recall": 0.5, "specificity": 1050 / 1100},
        **{"pixel_accuracy": 1100 / 1200, "area_error": 0, "hd95_pixels": 5, "hd95_percent": 10},
        **{"lesion_precision": 0, "lesion_recall": 0, "lesion_f1": 0},
    }
    found = measure(Case(prediction, SQUARE))
    assert {name: found[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(("by", "spacing", "distance"), [(4, (1, 1), 4), (4, (1, 0.5), 2), (4, (0.5, 2), 8)])
def test_a_point_is_as_far_as_it_was_shifted(by: int, spacing: tuple[float, float], distance: float) -> None:
    for name in ("hd95_mm", "msd_mm"):
        assert score(name, shifted(POINT, 0, by), POINT, spacing) == distance
        assert score(name, shifted(POINT, by, 0), POINT, spacing[::-1]) == distance


def test_a_point_shifted_along_both_axes() -> None:
    case = Case(shifted(POINT, 3, 4), POINT)
    assert (case.diagonal, measure(case)["hd95_pixels"], measure(case)["msd_percent"]) == (50, 5, 10)


@pytest.mark.parametrize(("by", "spacing"), [(1, (1.0, 1.0)), (3, (0.3, 2.0)), (7, (2.5, 0.1))])
def test_a_line_is_as_far_as_it_was_shifted(by: int, spacing: tuple[float, float]) -> None:
    line = box(SHAPE, (5, 6), (0, 40))
    for name in ("hd95_mm", "msd_mm"):
        assert score(name, shifted(line, by, 0), line, spacing) == pytest.approx(by * spacing[0])


def test_a_disc_in_a_disc_of_twice_the_radius() -> None:
    small, large = (disc((128, 128), (64, 64), radius) for radius in (20, 40))
    for name in ("hd95_pixels", "msd_pixels"):
        assert score(name, small, large) == pytest.approx(20, abs=0.7)
    assert score("recall", small, large) == pytest.approx(0.25, abs=0.01)
    assert score("area_error", small, large) == pytest.approx(0.75, abs=0.01)
    assert score("area_error", large, small) == pytest.approx(3, abs=0.05)
    assert score("nsd_mm", small, large, (1, 1), tolerance_mm=18) == 0
    assert score("nsd_mm", small, large, (1, 1), tolerance_mm=21) == 1


def test_the_larger_of_both_directions_is_the_hausdorff_distance() -> None:
    far = SQUARE | box(SHAPE, (10, 20), (35, 40))
    assert score("hd95_pixels", far, SQUARE) == score("hd95_pixels", SQUARE, far) == pytest.approx(20, abs=0.5)


def test_the_farthest_twentieth_of_the_edge_does_not_count() -> None:
    line = box((3, 200), (1, 2), (0, 190))
    assert score("hd95_pixels", line, line | box((3, 200), (1, 2), (190, 199))) == 0
    assert score("hd95_pixels", line, line | box((3, 200), (1, 2), (190, 200))) == pytest.approx(0.05, abs=0.01)


# --- at the border of the image ------------------------------------------------------------------------------


def test_the_border_of_the_image_is_an_edge() -> None:
    whole = np.ones((20, 30), dtype=bool)
    case = Case(whole, box((20, 30), (3, 20), (0, 30)))
    assert len(case.distances[0]) == 2 * 20 + 2 * 30 - 4
    assert max(distance.max() for distance in case.distances) == 3


def test_the_whole_image_is_not_empty() -> None:
    whole = np.ones((20, 30), dtype=bool)
    values = measure(Case(whole, whole))
    assert (values["hd95_pixels"], values["nsd_1_percent"], values["specificity"]) == (0, 1, 1)


def test_masks_at_the_border_are_like_those_in_the_middle() -> None:
    corner, beside = box((60, 60), (0, 10), (0, 10)), box((60, 60), (0, 10), (0, 13))
    middle = measure(Case(shifted(beside, 25, 25), shifted(corner, 25, 25), (0.5, 2)))
    assert measure(Case(beside, corner, (0.5, 2))) == middle
    assert measure(Case(beside[::-1, ::-1], corner[::-1, ::-1], (0.5, 2))) == pytest.approx(middle)


# --- empty masks ---------------------------------------------------------------------------------------------

NOTHING = np.zeros(SHAPE, dtype=bool)
DISTANCES = {"hd95_percent": 100, "hd95_mm": 100, "msd_percent": 100, "msd_mm": 100}  # a diagonal of 100 mm
OVERLAPS = ("mean_dice", "mean_iou", "precision", "recall", "nsd_1_percent", "nsd_2_percent", "nsd_mm")
LESIONS = ("lesion_precision", "lesion_recall", "lesion_f1")


def test_both_masks_empty_are_a_perfect_prediction() -> None:
    ones = dict.fromkeys([*OVERLAPS, *LESIONS, "specificity", "pixel_accuracy"], 1)
    zeros = dict.fromkeys([*DISTANCES, "area_error"], 0)
    nothing = dict.fromkeys(["hd95_pixels", "msd_pixels"])
    assert measure(Case(NOTHING, NOTHING, (2, 2))) == {**ones, **zeros, **nothing}


@pytest.mark.parametrize(
    ("prediction", "reference", "specificity"), [(NOTHING, SQUARE, 1), (SQUARE, NOTHING, 1100 / 1200)]
)
def test_one_empty_mask_is_as_far_as_the_image_is_large(prediction: Mask, reference: Mask, specificity: float) -> None:
    background = {"specificity": specificity, "pixel_accuracy": 1100 / 1200}
    nothing = dict.fromkeys(["hd95_pixels", "msd_pixels"])
    expected = {**dict.fromkeys([*OVERLAPS, *LESIONS], 0), **DISTANCES, **background, **nothing, "area_error": 1}
    assert measure(Case(prediction, reference, (2, 2))) == expected


@pytest.mark.parametrize(("prediction", "reference"), [(NOTHING, SQUARE), (SQUARE, NOTHING)])
def test_one_empty_mask_where_the_spacing_is_not_known(prediction: Mask, reference: Mask) -> None:
    values = measure(Case(prediction, reference))
    assert (values["hd95_pixels"], values["msd_pixels"], values["hd95_mm"], values["nsd_mm"]) == (50, 50, None, None)


# --- what DeepMind publishes, and what its package 0.1 gives (github.com/google-deepmind/surface-distance) ---

CUBES = tuple(box((100, 100, 100), (0, depth), (0, 100), (0, 100)) for depth in (50, 51))
DISCS = [disc((128, 128), (60, 60), 40), disc((128, 128), (60, 63), 40)]
SMALL, LARGE = disc((128, 128), (60, 60), 20), disc((128, 128), (60, 63), 22)
CORNER = box((40, 30), (0, 20), (0, 15))
NOTCHED = CORNER | box((40, 30), (18, 22), (0, 30))
WHOLE = np.ones((20, 30), dtype=bool)


@pytest.mark.parametrize(
    ("prediction", "reference", "spacing", "tolerance", "expected"),
    [
        pytest.param(POINT, shifted(POINT, 0, 2), (2, 1), 1, 0.5, id="two pixels 2 mm apart (published)"),
        pytest.param(*CUBES, (2, 1, 1), 1, 0.836, id="two cubes shifted by one voxel (published)"),
        pytest.param(*DISCS, (1, 1), 1, 0.350, id="discs shifted by 3 pixels, at 1 pixel"),
        pytest.param(*DISCS, (1, 1), 2, 0.595, id="discs shifted by 3 pixels, at 2 pixels"),
        pytest.param(SMALL, LARGE, (2, 1), 2, 0.462, id="oblong pixels"),
        pytest.param(CORNER, NOTCHED, (1, 1), 1, 0.644, id="border"),
        pytest.param(CORNER, NOTCHED, (0.5, 1.25), 1, 0.752, id="border, oblong pixels"),
        pytest.param(WHOLE, box((20, 30), (3, 20), (0, 30)), (1, 1), 1, 0.690, id="whole image"),
    ],
)
def test_surface_dice_is_that_of_deepmind(
    prediction: Mask, reference: Mask, spacing: tuple[float, ...], tolerance: float, expected: float
) -> None:
    found = score("nsd_mm", prediction, reference, spacing, tolerance_mm=tolerance)
    assert found == pytest.approx(expected, abs=0.0006)


def test_the_surface_of_a_point_is_that_of_deepmind() -> None:
    half_diagonal = np.hypot(2, 1) / 2
    predicted, _ = Case(POINT, shifted(POINT, 0, 2), (2, 1)).surfaces
    assert sorted(predicted.distance) == [1, 1, 2, 2]
    assert predicted.size.tolist() == pytest.approx([half_diagonal] * 4)


def test_surface_dice_of_squares_is_that_of_deepmind() -> None:
    reference, prediction = box((6, 6), (1, 3), (1, 3)), box((6, 6), (1, 4), (1, 3))
    half_diagonal = np.hypot(2, 1) / 2
    whole = (4 * half_diagonal + 2 * 1 + 2 * 2) + (4 * half_diagonal + 2 * 1 + 4 * 2)
    far = half_diagonal * 2 + 1  # the side that was drawn too low, with its corners
    found = score("nsd_mm", prediction, reference, (2, 1), tolerance_mm=1)
    assert found == pytest.approx((whole - far) / whole)


@pytest.mark.parametrize(("tolerance", "expected"), [(0.1, 0), (0.29, 0), (0.3, 1), (np.float64(0.3), 1), (1, 1)])
def test_a_surface_exactly_at_the_tolerance_is_correct(tolerance: float, expected: float) -> None:
    line = box(SHAPE, (10, 11), (0, 40))
    assert (score("nsd_mm", shifted(line, 3, 0), line, (0.1, 0.1), tolerance_mm=tolerance) == 1) == (expected == 1)


def test_the_tolerance_in_percent_is_one_of_the_diagonal() -> None:
    square = box((300, 400), (100, 200), (100, 200))
    beside = {by: shifted(square, by, 0) for by in (5, 6, 10, 11)}
    assert [score("nsd_1_percent", beside[by], square) == 1 for by in beside] == [True, False, False, False]
    assert [score("nsd_2_percent", beside[by], square) == 1 for by in beside] == [True, True, True, False]
