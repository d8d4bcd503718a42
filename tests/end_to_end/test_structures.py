"""Several structures through every interface: the command line, stock MONAI and Python; images and volumes."""

from __future__ import annotations

import csv
import shlex
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from processes import Done, inside, printed_line, refusal, stock, succeeded
from structured_bundles import CHEST, structured_bundle

from delineate.pipelines.inference.segmenter import Segmenter

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
NAMES = [one["name"] for one in CHEST]
AFFINE = np.diag([1.5, 2, 4, 1])


@dataclass(frozen=True)
class Place:
    """A folder with a bundle of several structures, and ``inputs``: pictures and a volume."""

    folder: Path
    exclusive: bool

    def segment(self, out: str, *words: str) -> Done:
        return inside("segment", "chest", "inputs", "--out", out, "--overlay", "--probability", *words, cwd=self.folder)

    def table(self, out: str) -> list[dict[str, str]]:
        with (self.folder / out / "results.csv").open(encoding="utf-8-sig", newline="") as file:
            return [row | {"bundle_verified": "", "record": ""} for row in csv.DictReader(file)]

    def files(self, out: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.folder / out).iterdir() if path.suffix != ".csv"}


def _place(folder: Path, exclusive: bool) -> Place:
    structured_bundle(folder / "chest", exclusive, "ct_slice")
    (folder / "inputs").mkdir()
    for name, shape in (("a", (40, 50)), ("a_heart", (61, 33))):
        Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8)).save(folder / "inputs" / f"{name}.png")
    voxels = RNG.integers(-200, 300, (24, 20, 5), dtype=np.int16)
    nib.save(nib.Nifti1Image(voxels, AFFINE), folder / "inputs" / "ct.nii.gz")
    return Place(folder, exclusive)


@pytest.fixture(scope="module", params=[False, True], ids=["overlapping", "exclusive"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return _place(tmp_path_factory.mktemp("structures"), request.param)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path) if path.suffix == ".png" else nib.load(path).dataobj)


def test_every_interface_gives_the_same_masks(place: Place) -> None:
    words = ("--threshold", "0.4", "--threshold", "left lung=0.2", *(["--label-map"] if place.exclusive else []))
    done = succeeded(place.segment("ours", *words))
    line = printed_line(done).replace("--output_dir ours", "--output_dir stock")
    assert "{'heart': 0.4, 'left lung': 0.2, 'right lung': 0.4}" in shlex.split(line)
    succeeded(stock(*shlex.split(line)[3:], cwd=place.folder))
    assert place.files("ours") == place.files("stock")
    assert place.table("ours") == place.table("stock")
    thresholds = {"heart": 0.4, "left lung": 0.2, "right lung": 0.4}
    segmenter = Segmenter(place.folder / "chest", threshold=thresholds)
    results = {result.name: result for result in segmenter.segment(place.folder / "inputs")}
    rows = place.table("ours")
    assert len(rows) == len(NAMES) * len(results)
    for row in rows:
        mask = results[Path(row["input"]).name.partition(".")[0]].masks[row["structure"]]
        assert np.array_equal(pixels(place.folder / "ours" / row["mask"]) == int(row["value"]), mask)
        assert (row["threshold"], row["foreground"]) == (f"{thresholds[row['structure']]}", str(mask.sum()))
    assert any(0.02 < mask.mean() < 0.98 for result in results.values() for mask in result.masks.values())


def test_each_structure_has_its_files_and_an_image_of_such_a_name_its_own(place: Place) -> None:
    succeeded(place.segment("masks"))
    rows = place.table("masks")
    assert len({row["mask"] for row in rows}) == len(rows)
    of_a = [row["mask"] for row in rows if row["input"].endswith("/a.png")]
    assert of_a == ["a_heart_mask.png", "a_left_lung_mask.png", "a_right_lung_mask.png"]
    again = succeeded(place.segment("masks"))
    assert place.table("masks") == rows
    assert "a.png -> masks/a_*_mask.png (heart " in again.stdout


def test_masks_are_exclusive_or_where_the_probability_reaches_the_threshold(place: Place) -> None:
    for result in Segmenter(place.folder / "chest").segment(place.folder / "inputs"):
        together = np.sum([mask.astype(int) for mask in result.masks.values()], axis=0)
        assert (together.max() <= 1) == place.exclusive
        for name in NAMES:
            assert place.exclusive or np.array_equal(result.probabilities[name] >= 0.5, result.masks[name])


def test_a_label_map_of_what_overlaps_is_refused_by_name_and_the_rest_goes_on(tmp_path: Path) -> None:
    place = _place(tmp_path, False)
    done = succeeded(place.segment("maps", "--label-map", "--threshold", "1", "--threshold", "heart=0"))
    assert "3 segmented, 0 refused" in done.stdout
    done = place.segment("maps", "--label-map", "--threshold", "0")
    assert done.returncode == 1
    assert "a.png: its left lung shares 2000 pixels with heart; leave out the label map" in done.stderr
    assert "0 segmented, 3 refused" in done.stdout


@pytest.mark.parametrize(
    ("threshold", "reason"), [("liver=0.3", "there are: heart, left lung"), ("heart=3", "set a probability")]
)
def test_a_threshold_that_is_none_is_one_line(tmp_path: Path, threshold: str, reason: str) -> None:
    structured_bundle(tmp_path / "chest", exclusive=False)
    done = inside("segment", "chest", "x.png", "--out", "m", "--threshold", threshold, cwd=tmp_path)
    assert reason in refusal(done)
    assert not (tmp_path / "m").exists()


def test_a_bundle_that_writes_no_label_maps_says_so(tmp_path: Path) -> None:
    """One of before there were any: a stock run would pass over the setting."""
    path = structured_bundle(tmp_path / "old", exclusive=True) / "configs" / "inference.yaml"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "label_map" not in line))
    done = inside("segment", "old", "x.png", "--out", "m", "--label-map", cwd=tmp_path)
    assert "no setting is called 'label_map'" in refusal(done)
