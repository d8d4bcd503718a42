from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from delineate.pipelines.evaluation.case import Case
from delineate.pipelines.evaluation.metrics import METRICS, measure
from delineate.pipelines.evaluation.rows import score_masks
from delineate.pipelines.evaluation.scored import Evaluation
from delineate.pipelines.evaluation.summary import summarise
from delineate.pipelines.evaluation.volumes import VolumeMasks, slice_count, volumes_of
from delineate.pipelines.imaging.item import Item
from delineate.pipelines.imaging.volumes.slicing import Slicing

AXIAL = Slicing("axial")
SPACING = (3.0, 0.5, 0.8)  # from slice to slice, of rows, of columns


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    across, rows, columns = SPACING
    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((12, 10, 6), np.int16), np.diag([columns, rows, across, 1])), path)
    return path


def masks() -> tuple[np.ndarray, np.ndarray]:
    """Prediction and reference, (D, H, W): a box, and the same one column and one slice further."""
    reference = np.zeros((6, 10, 12), np.uint8)
    reference[1:4, 2:7, 3:8] = 1
    return np.roll(reference, (1, 1), (0, 2)), reference


def scored(path: Path, slices: range, unannotated: int | None = None) -> Evaluation:
    """What `ScoreWriter` makes of slices."""
    prediction, reference = masks()
    rows: list[dict[str, Any]] = []
    whole = VolumeMasks([""], 2.0)
    for index in slices:
        item = Item(image=(path,), slice=index)
        row = {"image": str(path), "slice": index, "slices": slice_count(item, AXIAL), "group": "p1"}
        drawn = reference[index][None] if index != unannotated else np.full((1, 10, 12), 255, np.uint8)
        rows.append(row | score_masks(prediction[index][None], drawn, [""], SPACING[1:]))
        whole.add(rows[-1], item, AXIAL, prediction[index][None], drawn)
    return Evaluation(rows, list(METRICS), facts={"split": "test"}, volumes=whole.rows)


def test_a_volume_of_which_all_slices_were_scored_is_measured_in_3d(volume: Path) -> None:
    found = volumes_of(scored(volume, range(6)))
    assert found is not None
    prediction, reference = masks()
    expected = measure(Case(prediction == 1, reference == 1, SPACING))
    (row,) = found.rows
    assert row["hd95_mm"] == expected["hd95_mm"] == pytest.approx(math.hypot(3.0, 0.8))
    assert row["mean_dice"] == pytest.approx(expected["mean_dice"])
    assert row["hd95_percent"] == pytest.approx(100 * math.hypot(3.0, 0.8) / math.hypot(6 * 3.0, 10 * 0.5, 12 * 0.8))
    assert (row["slices"], row["scored_slices"], row["area_error"]) == (6, 6, 0)


@pytest.mark.parametrize(("slices", "unannotated"), [(range(1, 5), None), (range(6), 5)], ids=["dropped", "not drawn"])
def test_of_a_volume_with_slices_missing_all_voxels_of_the_others_count(
    volume: Path, slices: range, unannotated: int | None
) -> None:
    found = volumes_of(scored(volume, slices, unannotated))
    assert found is not None
    (row,) = found.rows
    prediction, reference = masks()
    both, sizes = int((prediction & reference).sum()), int(prediction.sum()) + int(reference.sum())
    assert row["mean_dice"] == pytest.approx(2 * both / sizes)
    assert "hd95_mm" not in row


def test_the_summary_has_volumes_beside_slices(volume: Path) -> None:
    metrics = summarise(scored(volume, range(6)))
    assert metrics["count"] == 6
    assert (metrics["volumes"]["count"], metrics["volumes"]["groups"]) == (1, 1)
    assert metrics["volumes"]["mean_dice"]["value"] < metrics["mean_dice"]["value"]  # two slices are rightly empty


def test_images_that_are_no_slices_make_no_volumes(tmp_path: Path) -> None:
    row = {"image": "a.png"} | score_masks(*(mask[2][None] for mask in masks()), [""])
    evaluation = Evaluation([row], list(METRICS), facts={"split": "test"})
    assert volumes_of(evaluation) is None
    assert "volumes" not in summarise(evaluation)


def test_frames_of_a_file_are_no_slices_of_a_volume(tmp_path: Path) -> None:
    assert slice_count(Item(image=(tmp_path / "clip.dcm",), slice=3), AXIAL) is None


def test_slices_are_in_their_order_where_they_are_a_subgroup(tmp_path: Path) -> None:
    """``--subgroups slice`` makes text of their numbers."""
    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((12, 10, 12), np.int16), np.diag([0.8, 0.5, 3.0, 1])), path)
    prediction, reference = (np.concatenate([one, np.zeros_like(one)]) for one in masks())
    whole = VolumeMasks([""], 2.0)
    for index in range(12):
        row = {"image": str(path), "slice": str(index), "slices": 12}
        whole.add(row, Item(image=(path,), slice=index), AXIAL, prediction[index][None], reference[index][None])
    assert whole.rows[0]["hd95_mm"] == measure(Case(prediction == 1, reference == 1, SPACING))["hd95_mm"]
