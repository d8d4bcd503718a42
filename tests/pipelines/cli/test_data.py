from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from delineate.pipelines.cli.data import app
from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.imaging.masks import read_mask
from delineate.pipelines.imaging.pictures import read_image
from delineate.pipelines.phantoms.images import phantom

CASES = ("a", "b", "c", "d")


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, Exception):
        raise result.exception
    return result


def entries(folder: Path) -> list[dict[str, Any]]:
    datalist = json.loads((folder / "datalist.json").read_text())
    return [entry for split in ("training", "validation", "test") for entry in datalist[split]]


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """Four volumes of 4 axial slices; 1 is in the slices 1 and 2 of each, 2 in the slice 2."""
    rng = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (tmp_path / "volumes" / folder).mkdir(parents=True)
    for name in CASES:
        label = np.zeros((6, 5, 4), np.uint8)
        label[1:3, 1:4, 1:3], label[4, 4, 2] = 1, 2
        values = rng.integers(-200, 200, label.shape, dtype=np.int16)
        for folder, voxels in (("images", values), ("labels", label)):
            nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "volumes" / folder / f"{name}.nii.gz")
    return tmp_path / "volumes"


def test_phantoms_of_ct_are_a_data_set_of_volumes(tmp_path: Path) -> None:
    assert (
        f"written: {tmp_path / 'ct'}" in run("phantoms", "--kind", "ct", "--count", 3, "--out", tmp_path / "ct").stdout
    )
    run("slices", tmp_path / "ct", "--out", tmp_path / "data", "--window", "abdomen", "--empty", "drop")
    found = entries(tmp_path / "data")
    assert len({entry["group"] for entry in found}) == 3
    assert min(entry["area"] for entry in found) > 0


def test_phantoms_of_the_chest_have_a_folder_of_masks_a_structure(tmp_path: Path) -> None:
    run("phantoms", "--kind", "chest", "--count", 1, "--out", tmp_path / "chest")
    folders = ["heart", "left clavicle", "left lung", "right clavicle", "right lung"]
    assert sorted(path.name for path in (tmp_path / "chest" / "masks").iterdir()) == folders
    shapes = [read_image(path, "grey").shape[:2] for path in (tmp_path / "chest").rglob("phantom_0001.png")]
    assert shapes == 6 * [(512, 512)]


@pytest.mark.parametrize(
    ("words", "found"), [((), "1 pair of similar"), (("--no-near-duplicates",), "0 pairs of similar")]
)
def test_images_that_look_alike_stay_together_unless_told_otherwise(
    tmp_path: Path, words: tuple[str, ...], found: str
) -> None:
    image, mask = phantom(1, (96, 96))
    for folder in ("images", "masks"):
        (tmp_path / "pictures" / folder).mkdir(parents=True)
    for name, gain in (("a", 1.0), ("b", 0.9)):
        Image.fromarray((image * gain).astype(np.uint8)).save(tmp_path / "pictures/images" / f"{name}.png")
        Image.fromarray(mask * np.uint8(255)).save(tmp_path / "pictures/masks" / f"{name}.png")
    assert found in run("index", tmp_path / "pictures", "--out", tmp_path / "data", *words).stdout
    assert len({entry["group"] for entry in entries(tmp_path / "data")}) == 1 + bool(words)


def test_phantoms_are_not_written_into_a_folder_in_use(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DelineateError):
        run("phantoms", "--kind", "ct", "--count", 1, "--out", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_slices_are_listed_and_nothing_else_is_written(tmp_path: Path, volumes: Path) -> None:
    text = run("slices", volumes, "--out", tmp_path / "data", "--split", "0.5,0.25,0.25").stdout
    assert "split\timages\ntraining\t8\nvalidation\t4\ntest\t4\n" in text
    assert "0 refused, 0 skipped" in text
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["datalist.json"]
    assert sorted((entry["group"], entry["slice"]) for entry in entries(tmp_path / "data")) == [
        (name, index) for name in CASES for index in range(4)
    ]


@pytest.mark.parametrize(
    ("options", "slicing"),
    [
        ((), {"axis": "axial", "window": "auto", "neighbours": 0}),
        (("--axis", "coronal", "--window", "40,400"), {"axis": "coronal", "window": "40,400"}),
        (("--neighbours", "2", "--window", "1%,99%"), {"neighbours": 2, "window": "1%,99%"}),
    ],
)
def test_the_data_list_says_how_slices_were_cut(
    tmp_path: Path, volumes: Path, options: tuple[str, ...], slicing: dict[str, Any]
) -> None:
    run("slices", volumes, "--out", tmp_path / "data", *options)
    datalist = json.loads((tmp_path / "data/datalist.json").read_text())
    assert datalist["slicing"] | slicing == datalist["slicing"]


@pytest.mark.parametrize(("labels", "slices"), [("1,2", [1, 2]), ("2", [2])])
def test_chosen_labels_decide_which_slices_are_empty(
    tmp_path: Path, volumes: Path, labels: str, slices: list[int]
) -> None:
    run("slices", volumes, "--out", tmp_path / "data", "--labels", labels, "--empty", "drop")
    found = entries(tmp_path / "data")
    assert sorted(entry["slice"] for entry in found) == sorted(slices * 4)
    assert {tuple(entry["label_values"]) for entry in found} == {tuple(map(int, labels.split(",")))}


def test_slices_are_written_where_asked(tmp_path: Path, volumes: Path) -> None:
    result = run("slices", volumes, "--out", tmp_path / "data", "--write", "--labels", 2)
    assert f"16 slices written to {tmp_path / 'data/images'}" in result.stdout
    found = [
        {key: tmp_path / "data" / entry[key] for key in ("image", "label")} for entry in entries(tmp_path / "data")
    ]
    assert {read_image(one["image"], "grey").shape for one in found} == {(5, 6, 1)}
    assert sorted(int(read_mask(one["label"]).sum()) for one in found) == [0] * 12 + [1] * 4


def test_a_window_for_each_modality_is_taken(tmp_path: Path, volumes: Path) -> None:
    for name in CASES:
        image = volumes / "images" / f"{name}.nii.gz"
        image.with_name(f"{name}_0001.nii.gz").write_bytes(image.read_bytes())
        image.rename(image.with_name(f"{name}_0000.nii.gz"))
    run("slices", volumes, "--out", tmp_path / "data", "--window", "brain", "--window", "bone")
    datalist = json.loads((tmp_path / "data/datalist.json").read_text())
    assert (datalist["slicing"]["window"], datalist["slicing"]["modalities"]) == (["brain", "bone"], 2)
    assert {len(entry["image"]) for entry in entries(tmp_path / "data")} == {2}


def test_folds_keep_volumes_together(tmp_path: Path, volumes: Path) -> None:
    run("slices", volumes, "--out", tmp_path / "data", "--folds", 2, "--split", "0.5,0.25,0.25")
    folds: dict[str, set[int]] = {}
    for entry in entries(tmp_path / "data"):
        folds.setdefault(entry["group"], set()).add(entry.get("fold", -1))
    assert sorted(map(len, folds.values())) == [1] * 4
    assert set().union(*folds.values()) == {-1, 0, 1}


def test_a_broken_volume_is_named_and_the_rest_goes_on(tmp_path: Path, volumes: Path) -> None:
    (volumes / "images/b.nii.gz").write_bytes(b"no volume")
    result = run("slices", volumes, "--out", tmp_path / "data")
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("refused: ")]
    assert "b.nii.gz" in line
    assert "1 refused, 0 skipped" in result.stdout
    assert {entry["group"] for entry in entries(tmp_path / "data")} == {"a", "c", "d"}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--window", "abdomin"), "did you mean 'abdomen'"),
        (("--window", "brain", "--window", "bone"), "2 windows for 1 volumes"),
        (("--labels", "1,spleen"), "--labels got '1,spleen'; give whole numbers"),
        (("--labels", "7", "--empty", "drop"), "no slice with foreground of the values 7"),
        (("--split", "0.7"), "three shares that add up to 1 are needed"),
        (("--layout", "niftii"), "did you mean 'nifti'"),
    ],
)
def test_a_wrong_option_is_refused_and_nothing_is_written(
    tmp_path: Path, volumes: Path, options: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(DelineateError, match=reason):
        run("slices", volumes, "--out", tmp_path / "data", *options)
    assert not (tmp_path / "data").exists()


def test_pictures_are_not_cut(tmp_path: Path) -> None:
    run("phantoms", "--count", 2, "--out", tmp_path / "pictures")
    with pytest.raises(DelineateError, match="is no volume; index pictures without cutting: delineate data index"):
        run("slices", tmp_path / "pictures", "--out", tmp_path / "data", "--write")


def test_volumes_are_indexed_as_axial_slices(tmp_path: Path, volumes: Path) -> None:
    run("index", volumes, "--out", tmp_path / "data")
    assert len(entries(tmp_path / "data")) == 16


def test_written_slices_are_audited_as_slices(tmp_path: Path) -> None:
    run("phantoms", "--kind", "ct", "--count", 4, "--out", tmp_path / "ct")
    run("slices", tmp_path / "ct", "--window", "abdomen", "--write", "--out", tmp_path / "data")
    assert run("audit", tmp_path / "data").exit_code == 0


def test_values_that_no_label_has_are_refused(tmp_path: Path, volumes: Path) -> None:
    with pytest.raises(DelineateError, match="no label has the values 7"):
        run("slices", volumes, "--labels", 7, "--out", tmp_path / "data")


def test_a_refused_file_makes_the_exit_code_1_though_the_rest_is_indexed(tmp_path: Path, volumes: Path) -> None:
    assert run("index", volumes, "--out", tmp_path / "whole").exit_code == 0
    (volumes / "images/a.nii.gz").write_bytes(b"broken")
    assert run("index", volumes, "--out", tmp_path / "data").exit_code == 1
    assert {entry["group"] for entry in entries(tmp_path / "data")} == set(CASES) - {"a"}


def test_a_set_without_any_label_says_what_to_do_next(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "table.csv").write_text("image,label\na.png,\n")
    text = run("index", tmp_path, "--out", tmp_path / "data").stdout
    assert f"add masks beside the images; delineate segment RUN {tmp_path} --out PREDICTIONS makes drafts" in text
    assert "each of which a person has to correct" in text


def test_images_without_a_mask_are_refused_with_the_way_to_keep_them(paired_source: Path, tmp_path: Path) -> None:
    (paired_source / "masks/a.png").unlink()
    refused = run("index", paired_source, "--out", tmp_path / "one")
    assert "1 image without a mask; --unlabelled keeps them" in refused.stdout
    kept = run("index", paired_source, "--out", tmp_path / "other", "--unlabelled")
    assert (refused.exit_code, kept.exit_code) == (1, 0)
    assert "1 image without label, in no split" in kept.stdout


def test_an_image_without_a_mask_whose_patient_is_not_known_is_not_kept(tmp_path: Path) -> None:
    source = tmp_path / "nerve"
    source.mkdir()
    for name in ("1_1", "1_1_mask", "1_2"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(source / f"{name}.tif")
    with pytest.raises(DelineateError, match=r"1_2\.tif has no mask, and the layout nerve .* --layout csv"):
        run("index", source, "--out", tmp_path / "out", "--layout", "nerve", "--unlabelled")


def test_masks_are_read_as_the_options_say_and_that_is_told(tmp_path: Path) -> None:
    classes = np.zeros((20, 30), np.uint8)
    classes[4:9, 4:9], classes[12:18, 12:25] = 1, 2
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for seed in range(4):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"images/image_{seed}.png")
        Image.fromarray(classes).save(tmp_path / f"masks/mask_{seed}.png")
    text = run("index", tmp_path, "--out", tmp_path / "data", "--labels", "2", "--resize-masks").stdout
    assert "4 pairs by name: image_* with mask_*" in text
    assert "4 masks of another size, resized" in text
    assert {entry["area"] for entry in entries(tmp_path / "data")} == {round((classes == 2).mean(), 6)}


def test_a_split_of_few_groups_is_a_warning(tmp_path: Path, volumes: Path) -> None:
    result = run("slices", volumes, "--out", tmp_path / "data", "--split", "0.5,0.25,0.25")
    assert result.exit_code == 0
    assert (
        "warning: too few images for meaningful scores: 1 patient or image for validation, 1 for the test; add images"
        in result.stderr
    )
