from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from data_lists import placed
from dicom_files import write_image, write_series
from monai.data import load_decathlon_datalist

from delineate.pipelines.audit.pairs import quick_leaks
from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.datasets.index import index_dataset
from delineate.pipelines.datasets.slices import bundle_settings, cut_volumes, write_slices
from delineate.pipelines.imaging.item import Item
from delineate.pipelines.imaging.masks import read_mask
from delineate.pipelines.imaging.pictures import read_image
from delineate.pipelines.imaging.reading import read_label, read_pixels
from delineate.pipelines.imaging.volumes.slicing import Slicing
from delineate.pipelines.loading.datasets import load_datalist

RNG = np.random.default_rng(0)
SHAPE = (6, 5, 4)
AFFINE = np.diag([1.5, 2.0, 3.0, 1.0])
AXIAL = Slicing("axial", [0, 2000])
CASES = ("a", "b", "c")


def save(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def label_of(name: str) -> np.ndarray:
    """1 in the slices 1 and 2, 2 in the slice 2."""
    label = np.zeros(SHAPE, np.uint8)
    label[1:3, 1:4, 1:3], label[4, 4, 2] = 1, 2
    return np.roll(label, ord(name), axis=0)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Volumes of three cases; their last slice is air."""
    for name in CASES:
        voxels = RNG.integers(-900, 1000, SHAPE, dtype=np.int16)
        voxels[..., 3] = -1000
        save(tmp_path / f"volumes/images/{name}.nii.gz", voxels)
        save(tmp_path / f"volumes/labels/{name}.nii.gz", label_of(name))
    return tmp_path / "volumes"


@pytest.fixture
def items(source: Path) -> list[Item]:
    folders = (source / "images", source / "labels")
    return [Item.of(image, label, group=image.name) for image, label in zip(*map(files, folders), strict=True)]


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def indices(items: list[Item]) -> list[int]:
    return [item.slice for item in items]


# cutting


def test_a_volume_becomes_an_item_a_slice(items: list[Item]) -> None:
    found, refused = cut_volumes(items, AXIAL)
    assert not refused
    assert [(one.image, one.label, one.group) for one in found[:4]] == [
        (items[0].image, items[0].label, "a.nii.gz")
    ] * 4
    assert indices(found) == [0, 1, 2, 3] * 3
    assert found[0].spacing == pytest.approx([2.0, 1.5])


@pytest.mark.parametrize(("axis", "count"), [("axial", 4), ("coronal", 5), ("sagittal", 6)])
def test_slices_are_counted_along_the_axis(items: list[Item], axis: str, count: int) -> None:
    assert indices(cut_volumes(items[:1], Slicing.of({"axis": axis}))[0]) == list(range(count))


def test_without_an_axis_nothing_is_cut(items: list[Item]) -> None:
    assert cut_volumes(items, None) == cut_volumes(items, Slicing()) == (items, [])


@pytest.mark.parametrize(("labels", "kept"), [(None, [1, 2]), ((1,), [1, 2]), ((2,), [2]), ((1, 2), [1, 2])])
def test_slices_without_the_wanted_foreground_are_dropped_where_asked(
    items: list[Item], labels: tuple[int, ...] | None, kept: list[int]
) -> None:
    found, _ = cut_volumes([replace(items[0], label_values=labels)], AXIAL, drop_empty=True)
    assert indices(found) == kept
    assert [one.label_values for one in found] == [labels] * len(kept)


def test_slices_of_unlabelled_volumes_are_never_dropped(items: list[Item]) -> None:
    found, _ = cut_volumes([replace(items[0], label=())], AXIAL, drop_empty=True)
    assert indices(found) == [0, 1, 2, 3]
    assert not found[0].label


def test_a_volume_without_the_wanted_foreground_is_refused_where_empty_slices_are_dropped(items: list[Item]) -> None:
    found, (error,) = cut_volumes([replace(items[0], label_values=(3, 4))], AXIAL, drop_empty=True)
    assert not found
    assert str(error).endswith(
        "a.nii.gz: has no slice with foreground of the values 3, 4; keep empty slices, or remove it"
    )


def test_what_cannot_be_cut_is_refused_once_and_the_rest_goes_on(tmp_path: Path, items: list[Item]) -> None:
    items[0].file.write_bytes(b"no volume")
    shifted = save(tmp_path / "shifted.nii.gz", label_of("b"), np.diag([1.5, 2, 3.5, 1]))
    picture = Item.of(write_image(tmp_path / "a.dcm", np.zeros((4, 4), np.uint8)), group="d")
    found, refused = cut_volumes([items[0], replace(items[1], label=(shifted,)), picture, items[2]], AXIAL)
    assert {one.image for one in found} == {items[2].image}
    assert [Path(error.source).name for error in refused] == ["a.nii.gz", "shifted.nii.gz", "a.dcm"]
    assert "is no volume; index pictures without cutting" in str(refused[2])


@pytest.mark.parametrize(("name", "reason"), [("c.nii.gz", "is not packed by gzip"), ("b.nii.gz", "lies elsewhere")])
def test_a_modality_that_does_not_fit_is_refused_once(
    tmp_path: Path, items: list[Item], name: str, reason: str
) -> None:
    save(tmp_path / "b.nii.gz", label_of("b"), np.eye(4))
    (tmp_path / "c.nii.gz").write_bytes(b"no volume")
    found, (error,) = cut_volumes([replace(items[0], image=(items[0].file, tmp_path / name)), items[1]], AXIAL)
    assert indices(found) == [0, 1, 2, 3]
    with pytest.raises(DelineateError, match=reason):
        raise error


# what a bundle must know


def test_a_bundle_learns_how_slices_were_cut(tmp_path: Path, source: Path) -> None:
    index_dataset(source, out=tmp_path / "data", slicing=replace(AXIAL, neighbours=2))
    slicing = {"axis": "axial", "window": [0, 2000], "neighbours": 2, "modalities": 1}
    assert bundle_settings(tmp_path / "data", "grey") == {"slicing": slicing, "in_channels": 5}
    assert bundle_settings(tmp_path / "data", "rgb") == {"slicing": slicing}


def test_modalities_are_channels_of_a_bundle(tmp_path: Path) -> None:
    for name in CASES:
        for number in (0, 1):
            save(tmp_path / f"source/imagesTr/{name}_000{number}.nii.gz", RNG.integers(-900, 900, SHAPE, np.int16))
        save(tmp_path / f"source/labelsTr/{name}.nii.gz", label_of(name))
    index_dataset(tmp_path / "source", out=tmp_path / "data", slicing=Slicing("axial", ["brain", "bone"]))
    settings = bundle_settings(tmp_path / "data", "grey")
    assert (settings["in_channels"], settings["slicing"]["modalities"]) == (2, 2)
    assert [len(entry["image"]) for _, entry in placed(tmp_path / "data")] == [2] * 12


def test_pictures_ask_nothing_of_a_bundle(tmp_path: Path, source: Path) -> None:
    index_dataset(source, out=tmp_path / "data", slicing=AXIAL)
    write_slices(tmp_path / "data")
    assert bundle_settings(tmp_path / "data", "grey") == {}


# writing


def test_written_slices_are_what_is_read_of_the_volumes(tmp_path: Path, source: Path) -> None:
    index_dataset(source, out=tmp_path / "data", slicing=AXIAL, labels=[2])
    before = {(entry["group"], entry["slice"]): entry for _, entry in placed(tmp_path / "data")}
    assert write_slices(tmp_path / "data") == len(before) == 12
    after = {(entry["group"], entry["plane"]): entry for _, entry in placed(tmp_path / "data")}
    assert after.keys() == before.keys()
    for key, entry in after.items():
        pixels = read_image(entry["image"], "grey")
        np.testing.assert_array_equal(pixels, read_pixels(Item.from_fields(before[key]), "grey", AXIAL))
        np.testing.assert_array_equal(read_mask(entry["label"]), read_label(Item.from_fields(before[key]), AXIAL))
        assert entry["volume"] == before[key]["image"]


def test_written_slices_keep_their_splits_and_move_with_their_folder(tmp_path: Path, source: Path) -> None:
    index_dataset(source, out=tmp_path / "data", slicing=AXIAL)
    places = [(str(place), entry["group"]) for place, entry in placed(tmp_path / "data")]
    write_slices(tmp_path / "data")
    (tmp_path / "data").rename(tmp_path / "moved")
    assert places == [(str(place), entry["group"]) for place, entry in placed(tmp_path / "moved")]
    assert len(load_datalist(tmp_path / "moved", "training", slicing={"axis": "coronal"})) == 4


def test_monai_reads_the_list_of_written_slices(tmp_path: Path, source: Path) -> None:
    index_dataset(source, out=tmp_path / "data", slicing=AXIAL)
    write_slices(tmp_path / "data")
    items = load_decathlon_datalist(str(tmp_path / "data/datalist.json"), True, "training")
    assert all(Path(item[key]).is_file() for item in items for key in ("image", "label", "volume"))


def test_volumes_below_the_data_set_are_named_relatively(source: Path) -> None:
    index_dataset(source, out=source, slicing=AXIAL)
    write_slices(source)
    entries = json.loads((source / "datalist.json").read_text())["training"]
    assert {Path(entry["volume"]).parent for entry in entries} == {Path("images")}


def test_black_slices_of_several_volumes_are_no_leak(tmp_path: Path, source: Path) -> None:
    index_dataset(source, out=tmp_path / "data", slicing=AXIAL)
    write_slices(tmp_path / "data")
    black = [entry for _, entry in placed(tmp_path / "data") if not read_image(entry["image"], "grey").any()]
    assert len(black) == 3
    assert quick_leaks(tmp_path / "data") == []


def test_slices_of_volumes_of_one_name_do_not_overwrite_another(tmp_path: Path, source: Path) -> None:
    for name in ("images", "labels"):
        (source / name).rename(source / f"moving_{name}")
        for file in files(source / f"moving_{name}"):
            save(source / f"fixed_{name}" / file.name, np.asarray(nib.load(file).dataobj)[::-1])
    index_dataset(source, out=tmp_path / "data", slicing=AXIAL)
    assert write_slices(tmp_path / "data") == 24 == len(files(tmp_path / "data/images"))


def test_slices_of_series_are_written(tmp_path: Path) -> None:
    for name in CASES:
        voxels = RNG.integers(-900, 1000, SHAPE, dtype=np.int16)
        write_series(tmp_path / "source" / name, voxels, AFFINE, PatientID=name)
        save(tmp_path / f"source/{name}_seg.nii.gz", label_of(name))
    report = index_dataset(tmp_path / "source", "dicom", out=tmp_path / "data", slicing=AXIAL)
    assert not report.refused
    assert write_slices(tmp_path / "data") == 12
    areas = [read_mask(entry["label"]).sum() for _, entry in placed(tmp_path / "data")]
    assert sum(areas) == sum(int((label_of(name) > 0).sum()) for name in CASES)


def test_slices_of_several_channels_are_refused_and_the_list_stays(tmp_path: Path, source: Path) -> None:
    index_dataset(source, out=tmp_path / "data", slicing=replace(AXIAL, neighbours=1))
    before = (tmp_path / "data/datalist.json").read_bytes()
    with pytest.raises(DelineateError, match="slices have 3 channels, and a grey PNG takes 1; leave out --write"):
        write_slices(tmp_path / "data")
    assert (tmp_path / "data/datalist.json").read_bytes() == before
    assert [file.name for file in files(tmp_path / "data")] == ["datalist.json"]
