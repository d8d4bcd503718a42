"""The documented example of volumes, from phantoms to masks: every interface, DICOM, bad inputs, leaks, folds."""

from __future__ import annotations

import json
import random
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import write_series
from processes import NO_PAGE, Done, inside, printed_line, refusal, stock, succeeded

from delineate.pipelines.imaging.volumes.formats import read_volume
from delineate.pipelines.imaging.volumes.volume import Volume

pytestmark = pytest.mark.slow

SMALL = ("--network", "ultra_light_unet", "--set", "network_def::features=[16,32,64]",
         "--set", "image_size=[64,64]", "--set", "learning_rate=0.01")  # fmt: skip
BRIEF = (*SMALL, "--set", "max_epochs=1", "--set", "epoch_length=2")
CT = "volumes/imagesTr/phantom_0001.nii.gz"
LABEL = "volumes/labelsTr/phantom_0001.nii.gz"
OTHER = "volumes/imagesTr/phantom_0002.nii.gz"
BROKEN = "inputs/broken.nii.gz"


@dataclass(frozen=True)
class Place:
    """A folder with ``volumes``, ``data`` cut from them, and ``run``, trained on it; commands start there."""

    folder: Path

    def delineate(self, *words: str | Path) -> Done:
        return inside(*words, cwd=self.folder)

    def volume(self, name: str) -> Volume:
        return read_volume(self.folder / name)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """After training; nothing may write into ``data`` and ``run``."""
    place = Place(tmp_path_factory.mktemp("slices"))
    succeeded(place.delineate("data", "phantoms", "--kind", "ct", "--count", "8", "--out", "volumes"))
    words = ("--axis", "axial", "--window", "abdomen", "--out", "data")
    assert "training\t120\n" in succeeded(place.delineate("data", "slices", "volumes", *words)).stdout
    words = ("--data", "data", "--out", "run", "--set", "max_epochs=3", "--set", "batch_size=4", *SMALL)
    succeeded(place.delineate("train", "ct_slice", *words))
    return place


@pytest.fixture(scope="module")
def segmented(place: Place) -> Done:
    """One call for a NIfTI, the same volume as a DICOM series, and a file that is neither."""
    volume = place.volume(CT)
    names = [f"IM{number:04}" for number in range(volume.voxels.shape[2])]
    random.Random(0).shuffle(names)
    write_series(place.folder / "inputs/series", volume.voxels, volume.affine, names)
    (place.folder / BROKEN).write_bytes((place.folder / CT).read_bytes()[:20000])
    return place.delineate("segment", "run", CT, BROKEN, "inputs", "--out", "masks", "--overlay")


def test_a_mask_lies_on_its_volume_voxel_by_voxel(place: Place, segmented: Done) -> None:
    mask, source = (nib.load(place.folder / name) for name in ("masks/phantom_0001_mask.nii.gz", CT))
    assert mask.shape == source.shape
    np.testing.assert_array_equal(mask.affine, source.affine)
    assert np.unique(np.asarray(mask.dataobj)).tolist() == [0, 1]


def test_the_mask_is_about_the_label(place: Place, segmented: Done) -> None:
    """Else every comparison here would pass with masks of anything."""
    mask, label = (place.volume(name).voxels for name in ("masks/phantom_0001_mask.nii.gz", LABEL))
    assert 2 * (mask & label).sum() / (mask.sum() + label.sum()) > 0.7


def test_a_series_has_the_mask_of_its_nifti(place: Place, segmented: Done) -> None:
    series, nifti = (place.volume(f"masks/{name}_mask.nii.gz") for name in ("series", "phantom_0001"))
    np.testing.assert_array_equal(series.voxels, nifti.voxels)
    np.testing.assert_allclose(series.affine, nifti.affine, atol=1e-4)


def test_what_cannot_be_read_is_named_once_and_the_rest_goes_on(segmented: Done) -> None:
    assert segmented.returncode == 1
    assert "2 segmented, 1 refused" in segmented.stdout
    (line,) = [line for line in segmented.stderr.splitlines() if "refused" in line]
    assert line.startswith(f"refused: {BROKEN}: is cut off or damaged")
    assert "Traceback" not in segmented.stderr


def test_each_volume_is_told_with_its_extent(place: Place, segmented: Done) -> None:
    count = place.volume("masks/series_mask.nii.gz").voxels.sum()
    (line,) = [line for line in segmented.stdout.splitlines() if line.startswith("inputs/series ")]
    assert line.endswith(f" -> masks/series_mask.nii.gz ({count} voxels, {count * 96 / 1000:.2f} ml)")


def test_stock_monai_writes_the_same_masks(place: Place, segmented: Done) -> None:
    line = printed_line(segmented).replace("--output_dir masks", "--output_dir stock")
    said = stock(*shlex.split(line)[3:], cwd=place.folder)
    assert said.returncode == 1
    assert (said.stdout + said.stderr).count(f"{BROKEN}: is cut off or damaged") == 1
    ours, stocks = (
        {file.name: file.read_bytes() for file in (place.folder / name).iterdir()} for name in ("masks", "stock")
    )
    rows, stock_rows = (table.pop("results.csv").decode("utf-8-sig") for table in (ours, stocks))
    verified = re.compile(r",yes,(?=\d+\.\d+\.\d)")  # the version comes after it
    rows = re.sub(r",[0-9a-f]{64}$", ",", rows, flags=re.MULTILINE)  # nobody goes on with a stock run
    assert verified.sub(",unknown,", rows) == stock_rows  # nor verifies a bundle for it
    assert set(ours) == {
        f"{name}_{end}" for name in ("phantom_0001", "series") for end in ("mask.nii.gz", "overlay.png")
    }
    assert ours == stocks


def test_a_nrrd_lies_where_simpleitk_sees_its_source(place: Place) -> None:
    succeeded(place.delineate("segment", "run", OTHER, "--out", "nrrd", "--volume-format", "nrrd"))
    mask, source = (sitk.ReadImage(str(place.folder / name)) for name in ("nrrd/phantom_0002_mask.nrrd", OTHER))
    assert mask.GetSize() == source.GetSize()
    for facts in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(mask, facts)(), getattr(source, facts)(), atol=1e-5)
    assert sitk.GetArrayFromImage(mask).any()


def test_slices_are_scored_one_by_one(place: Place) -> None:
    succeeded(place.delineate("evaluate", "run", "--data", "data", "--out", "scores", *NO_PAGE))
    scores = json.loads((place.folder / "scores/metrics.json").read_text())
    assert (scores["count"], scores["groups"], scores["refused"]) == (20, 1, [])
    assert scores["mean_dice"]["value"] > 0.5


def test_a_leaking_data_list_is_trained_on_only_where_allowed_and_on_record(place: Place) -> None:
    datalist = json.loads((place.folder / "data/datalist.json").read_text())
    datalist["test"] = datalist["training"][:20]
    (place.folder / "leaking").mkdir()
    (place.folder / "leaking/datalist.json").write_text(json.dumps(datalist))
    words = ("train", "ct_slice", "--data", "leaking", *BRIEF)
    assert "leaking leaks: group phantom_" in refusal(place.delineate(*words, "--out", "allowed"))
    assert not (place.folder / "allowed").exists()
    succeeded(place.delineate(*words, "--out", "allowed", "--allow-leaks"))
    (session,) = json.loads((place.folder / "allowed/logs/record.json").read_text())["sessions"]
    assert session["settings"]["allow_leaks"] is True


def test_a_fold_is_the_validation(place: Place) -> None:
    succeeded(place.delineate("data", "slices", "volumes", "--out", "folded", "--folds", "3", "--empty", "drop"))
    words = ("train", "ct_slice", "--data", "folded", "--out", "fold_1", *BRIEF)
    done = succeeded(place.delineate(*words, "--fold", "1"))
    entries = json.loads((place.folder / "folded/datalist.json").read_text())["training"]
    count = sum(entry["fold"] == 1 for entry in entries)
    assert 0 < count < len(entries)
    assert f"cache: {len(entries) - count} items" in done.stdout
    assert f"cache: {count} items" in done.stdout
    (session,) = json.loads((place.folder / "fold_1/logs/record.json").read_text())["sessions"]
    assert session["settings"]["fold"] == 1
    assert session["settings"]["slicing"]["window"] == "auto"
