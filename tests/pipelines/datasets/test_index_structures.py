"""Data sets of several structures: indexed, split, cut, written, audited, and read for a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from shared_data import SHARED

from delineate.pipelines.audit.dataset import audit_dataset
from delineate.pipelines.core.errors import DelineateError, InputError
from delineate.pipelines.datasets.datalist import Datalist
from delineate.pipelines.datasets.index import index_dataset
from delineate.pipelines.datasets.slices import write_slices
from delineate.pipelines.datasets.splitting.resplit import split_dataset
from delineate.pipelines.datasets.splitting.splits import SPLITS, Plan
from delineate.pipelines.imaging.structures import UNANNOTATED
from delineate.pipelines.imaging.volumes.slicing import Slicing
from delineate.pipelines.loading.datasets import load_datalist
from delineate.pipelines.loading.transforms import ReadMaskd, ResizeToGridd

RNG = np.random.default_rng(0)
NAMES = ["heart", "left lung"]
BUNDLE = [{"name": name} for name in reversed(NAMES)]
DISC, CUP = (slice(4, 30), slice(5, 40)), (slice(10, 20), slice(12, 30))


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def mask(*area: slice) -> np.ndarray:
    pixels = np.zeros((40, 50))
    pixels[area] = 255
    return pixels


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Twelve images; of the first there is no heart file, and an empty left lung."""
    source = tmp_path / "source"
    for number in range(12):
        save(source / f"images/{number:02}.png", RNG.integers(0, 256, (40, 50)))
        save(source / f"masks/left_lung/{number:02}.png", mask(*CUP) * (number > 0))
        if number:
            save(source / f"masks/heart/{number:02}.png", mask(*DISC))
    return source


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """Twelve label maps in which 2 lies in 1."""
    source = tmp_path / "source"
    for number in range(12):
        save(source / f"images/{number:02}.png", RNG.integers(0, 256, (40, 50)))
        save(source / f"masks/{number:02}.png", mask(*DISC) / 255 + mask(*CUP) / 255)
    return source


def items_of(folder: Path, structures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items of all splits."""
    splits = [split for split in SPLITS if Datalist.read(folder).part(split)]
    return [item for split in splits for item in load_datalist(folder, split, structures=structures)]


def masks_of(folder: Path, structures: list[dict[str, Any]], **how: Any) -> dict[str, np.ndarray]:
    """What a bundle reads of all items, by the image's name."""
    read = ReadMaskd("label", structures=structures, **how)
    return {Path(item["image"]).stem: read(item)["label"].numpy() for item in items_of(folder, structures)}


def test_a_folder_is_a_structure_and_the_bundle_chooses_their_order(folders: Path, tmp_path: Path) -> None:
    report = index_dataset(folders, out=tmp_path / "data")
    assert report.structures == {"heart": (11, 0, 1), "left lung": (11, 1, 0)}
    lung, heart = masks_of(tmp_path / "data", BUNDLE)["05"]
    assert (lung.sum(), heart.sum()) == (180, 910)
    lung, heart = masks_of(tmp_path / "data", BUNDLE)["00"]
    assert (lung.max(), heart.min()) == (0, UNANNOTATED)


def test_a_missing_file_is_an_empty_mask_where_that_is_said(folders: Path, tmp_path: Path) -> None:
    report = index_dataset(folders, out=tmp_path / "data", missing="empty")
    assert report.structures["heart"] == (11, 1, 0)
    assert masks_of(tmp_path / "data", BUNDLE)["00"].max() == 0


def test_values_of_a_label_map_may_be_nested(maps: Path, tmp_path: Path) -> None:
    report = index_dataset(maps, out=tmp_path / "data", structures={"disc": [1, 2], "cup": [2]})
    assert report.structures == {"disc": (12, 0, 0), "cup": (12, 0, 0)}
    disc, cup = masks_of(tmp_path / "data", [{"name": "disc"}, {"name": "cup"}])["03"]
    assert (disc.sum(), cup.sum()) == (910, 180)
    assert (cup <= disc).all()


def test_exclusive_structures_that_overlap_are_refused_by_name(maps: Path, tmp_path: Path) -> None:
    index_dataset(maps, out=tmp_path / "data", structures={"disc": [1, 2], "cup": [2]})
    with pytest.raises(InputError, match="disc and cup overlap in 180 pixels, but the bundle's structures are"):
        masks_of(tmp_path / "data", [{"name": "disc"}, {"name": "cup"}], exclusive=True)
    index_dataset(maps, out=tmp_path / "data", structures={"rim": [1], "cup": [2]})
    assert len(masks_of(tmp_path / "data", [{"name": "rim"}, {"name": "cup"}], exclusive=True)) == 12


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"structures": {"disc": [1]}, "labels": [1]}, "--labels makes one structure"),
        ({"structures": {"disc": [1], "cup": [7]}}, r"no label has the values 7 of cup; 0\d\.png has 0, 1, 2"),
        ({"structures": {"a/b": [1]}}, "a structure has the name 'a/b'"),
    ],
)
def test_values_that_make_no_structures_are_an_error(
    maps: Path, tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(DelineateError, match=reason):
        index_dataset(maps, out=tmp_path / "data", **options)


def test_values_are_of_no_use_where_each_structure_has_files(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match="each structure has files of its own here"):
        index_dataset(folders, out=tmp_path / "data", structures={"heart": [1]})


@pytest.mark.parametrize(
    ("structures", "reason"),
    [
        (
            None,
            "the structures heart, left lung, and the bundle outlines one, without a name; take other data, or",
        ),
        ([{"name": "liver"}], "has the structures heart, left lung, and the bundle outlines liver"),
        ([{"name": "heart"}, {"name": "liver"}], "and the bundle outlines heart, liver"),
    ],
)
def test_a_bundle_of_other_structures_is_told_which_there_are(
    folders: Path, tmp_path: Path, structures: Any, reason: str
) -> None:
    index_dataset(folders, out=tmp_path / "data")
    with pytest.raises(DelineateError, match=reason):
        load_datalist(tmp_path / "data", "training", structures=structures)


def test_a_bundle_may_outline_one_of_several(folders: Path, tmp_path: Path) -> None:
    index_dataset(folders, out=tmp_path / "data")
    assert {found.shape for found in masks_of(tmp_path / "data", [{"name": "heart"}]).values()} == {(1, 40, 50)}


def test_one_structure_may_have_any_name(maps: Path, tmp_path: Path) -> None:
    index_dataset(maps, out=tmp_path / "data", structures={"disc": [1, 2]})
    for structures in ([{"name": "lesion"}], None):
        item = load_datalist(tmp_path / "data", "training", structures=structures)[0]
        assert ReadMaskd("label", structures=structures)(item)["label"].sum() == 910


def test_how_structures_are_drawn_is_part_of_the_hash(maps: Path, tmp_path: Path) -> None:
    hashes = set()
    for structures in ({"disc": [1], "cup": [2]}, {"disc": [1, 2], "cup": [2]}, {"disk": [1], "cup": [2]}):
        index_dataset(maps, out=tmp_path / "data", structures=structures)
        hashes.add(Datalist.read(tmp_path / "data").hash)
    assert len(hashes) == 3


def test_a_new_split_keeps_the_structures(folders: Path, tmp_path: Path) -> None:
    index_dataset(folders, out=tmp_path / "data")
    split_dataset(tmp_path / "data", tmp_path / "new", Plan(seed=3))
    one, other = (masks_of(tmp_path / name, BUNDLE) for name in ("data", "new"))
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_an_audit_names_the_structure(folders: Path, tmp_path: Path) -> None:
    save(folders / "masks/heart/03.png", np.full((40, 50), 255))
    index_dataset(folders, out=tmp_path / "data")
    found = {one.detail: one.severity for one in audit_dataset(tmp_path / "data").findings if one.kind == "mask"}
    assert found["heart: covers the whole image"] == "problem"
    assert found["left lung: empty"] == "note"


def test_masks_of_structures_are_resized_each_by_itself_and_the_rest_stays_unannotated(
    folders: Path, tmp_path: Path
) -> None:
    index_dataset(folders, out=tmp_path / "data")
    item = next(item for item in items_of(tmp_path / "data", BUNDLE) if item["image"].endswith("00.png"))
    small = ResizeToGridd("label", [20, 25], is_mask=True)(ReadMaskd("label", structures=BUNDLE)(item))["label"]
    assert small.amin(dim=(1, 2)).tolist() == small.amax(dim=(1, 2)).tolist() == [0, UNANNOTATED]


# Volumes


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A Decathlon of six cases whose ``dataset.json`` names two labels."""
    folder = tmp_path / "Task05"
    voxels = RNG.integers(0, 500, (6, 20, 24, 3), dtype=np.int16)
    label = np.zeros((20, 24, 3), np.uint8)
    label[4:12, 5:15], label[12:16, 5:15, 1:] = 1, 2
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    for number, image in enumerate(voxels):
        nib.save(nib.Nifti1Image(image, np.eye(4)), folder / f"imagesTr/p_{number}.nii.gz")
        nib.save(nib.Nifti1Image(label, np.eye(4)), folder / f"labelsTr/p_{number}.nii.gz")
    pairs = [{"image": f"imagesTr/p_{n}.nii.gz", "label": f"labelsTr/p_{n}.nii.gz"} for n in range(6)]
    labels = {"0": "background", "1": "PZ", "2": "TZ/CG"}
    (folder / "dataset.json").write_text(json.dumps({"labels": labels, "training": pairs}))
    return folder


def test_all_labels_of_a_decathlon_are_structures(task: Path, tmp_path: Path) -> None:
    report = index_dataset(task, out=tmp_path / "data", slicing=Slicing("axial"))
    assert report.structures == {"PZ": (18, 0, 0), "TZ CG": (12, 6, 0)}


def test_labels_still_make_one_structure_of_a_decathlon(task: Path, tmp_path: Path) -> None:
    report = index_dataset(task, out=tmp_path / "data", slicing=Slicing("axial"), labels=[1, 2])
    assert report.structures == {}
    assert sum(report.splits.values()) == 18


def test_written_slices_have_a_mask_a_structure(task: Path, tmp_path: Path) -> None:
    index_dataset(task, out=tmp_path / "data", slicing=Slicing("axial"))
    bundle = [{"name": "TZ CG"}, {"name": "PZ"}]
    how = {"axis": "axial"}
    before = [
        ReadMaskd("label", slicing=how, structures=bundle)(item)["label"].numpy()
        for item in load_datalist(tmp_path / "data", "training", structures=bundle)
    ]
    write_slices(tmp_path / "data")
    assert len(list((tmp_path / "data/labels").iterdir())) == 36
    after = [
        ReadMaskd("label", structures=bundle)(item)["label"].numpy()
        for item in load_datalist(tmp_path / "data", "training", structures=bundle)
    ]
    np.testing.assert_array_equal(after, before)


# Real images


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs shared/data")
def test_real_nerves_and_vessels_are_two_structures(tmp_path: Path) -> None:
    report = index_dataset(SHARED / "usgra-seg", out=tmp_path / "data", structures={"nerve": [1], "vessel": [2]})
    assert report.structures == {"nerve": (25, 0, 0), "vessel": (23, 2, 0)}
    for stem, found in masks_of(tmp_path / "data", [{"name": "nerve"}, {"name": "vessel"}], exclusive=True).items():
        drawn = np.asarray(Image.open(next((SHARED / "usgra-seg/masks").glob(f"{stem}.*"))))
        np.testing.assert_array_equal(found, [drawn == 1, drawn == 2])


def test_two_folders_of_one_structure_are_refused_with_their_names(folders: Path, tmp_path: Path) -> None:
    save(folders / "masks/Left lung/01.png", mask(*CUP))
    with pytest.raises(InputError, match=r"one structure in several folders \(Left lung/, left_lung/\)"):
        index_dataset(folders, out=tmp_path / "data")
