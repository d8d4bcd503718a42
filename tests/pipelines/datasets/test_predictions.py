"""Masks that Delineate drew are no labels before a person has corrected them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from paired_pictures import MASK, entries, load, make_paired, picture, save
from PIL.PngImagePlugin import PngInfo
from typer.testing import CliRunner

from delineate.pipelines.cli import app
from delineate.pipelines.core.errors import DelineateError, InputError, SkippedError
from delineate.pipelines.core.sums import sha256
from delineate.pipelines.datasets.index import IndexReport, index_dataset
from delineate.pipelines.datasets.predictions import without_predictions
from delineate.pipelines.imaging.item import Item
from delineate.pipelines.imaging.writers import write_pixels
from delineate.pipelines.imaging.writers.mark import KEY, mark_of
from delineate.pipelines.inference.result_table import COLUMNS, as_csv

NAMES = "abcdef"
SAID = "that Delineate drew (results.csv); they are predictions, not labels: let a person correct every one of them"


def list_results(folder: Path, *rows: dict[str, str], separator: str = ",") -> None:
    text = as_csv([dict.fromkeys(COLUMNS, "") | {"status": "segmented"} | row for row in rows], COLUMNS)
    (folder / "results.csv").write_text(text.replace(",", separator), encoding="utf-8-sig")


@pytest.fixture
def predicted(tmp_path: Path) -> Path:
    """What ``delineate segment skin_lesion photos/ --out masks/ --overlay`` leaves."""
    source = tmp_path / "source"
    for seed, name in enumerate(NAMES):
        save(source / f"photos/{name}.png", picture(seed))
        save(source / f"masks/{name}_mask.png", MASK)
        save(source / f"masks/{name}_overlay.png", picture(seed))
    list_results(
        source / "masks",
        *({"input": f"{name}.png", "mask": f"{name}_mask.png", "overlay": f"{name}_overlay.png"} for name in NAMES),
    )
    return source


def index(source: Path, **options: Any) -> IndexReport:
    return index_dataset(source, out=source.parent / "out", **options)


def refusal(source: Path, **options: Any) -> str:
    with pytest.raises(DelineateError) as error:
        index(source, **options)
    return str(error.value)


def test_predictions_are_refused_as_labels(predicted: Path) -> None:
    text = refusal(predicted)
    assert f"{predicted / 'masks'}: holds 6 masks {SAID}" in text
    assert "--corrected" in text
    assert not (predicted.parent / "out/datalist.json").exists()


def test_corrected_ones_are_labels_and_the_data_list_says_so(predicted: Path) -> None:
    report = index(predicted, corrected=True)
    note = "6 masks drawn by Delineate (results.csv), and corrected by a person, as --corrected says"
    assert sum(report.splits.values()) == len(NAMES)
    assert note in report.notes
    assert note in load(report.path.parent)["notes"]


@pytest.fixture
def copied(tmp_path: Path) -> list[Path]:
    """Masks that Delineate wrote, copied into a data set without their table."""
    source = make_paired(tmp_path / "source", NAMES)
    return [write_pixels(source / f"masks/{name}.png", MASK) for name in NAMES]


def test_predictions_without_their_table_are_known_by_their_mark(copied: list[Path]) -> None:
    text = refusal(copied[0].parents[1])
    assert "holds 6 masks that Delineate drew (a mark in the file says so); they are predictions, not labels" in text


def test_of_marked_masks_those_that_nobody_changed_are_named(copied: list[Path]) -> None:
    for path in copied[2:]:
        mark = PngInfo()
        mark.add_text(KEY, mark_of(MASK))
        save(path, 255 - MASK, pnginfo=mark)
    (note,) = [note for note in index(copied[0].parents[1], corrected=True).notes if "--corrected" in note]
    assert note.endswith("as --corrected says; 2 of them as Delineate drew them: a.png, b.png")


@pytest.fixture
def drafts(predicted: Path) -> list[Path]:
    """The masks, with what they were when Delineate wrote them in the table."""
    masks = [predicted / f"masks/{name}_mask.png" for name in NAMES]
    list_results(
        predicted / "masks",
        *(
            {"input": f"{name}.png", "mask": mask.name, "files_sha256": f"mask {sha256(mask)}"}
            for name, mask in zip(NAMES, masks, strict=True)
        ),
    )
    for overlay in (predicted / "masks").glob("*_overlay.png"):
        overlay.unlink()
    return masks


def test_corrected_ones_that_nobody_changed_are_named_and_marked(predicted: Path, drafts: list[Path]) -> None:
    for draft in drafts[2:]:
        save(draft, 255 - MASK)
    report = index(predicted, corrected=True)
    (note,) = [note for note in report.notes if "--corrected" in note]
    assert note.endswith("as --corrected says; 2 of them as Delineate drew them: a_mask.png, b_mask.png")
    marked = {Path(entry["image"]).stem for entry in entries(load(report.path.parent)) if entry.get("draft")}
    assert marked == {"a", "b"}


@pytest.mark.parametrize("revision", ["corrected", "edited", "v2", "Final"])
def test_a_revision_beside_its_draft_is_the_label_whatever_is_said(
    predicted: Path, drafts: list[Path], revision: str
) -> None:
    for draft in drafts:
        save(draft.with_stem(f"{draft.stem}_{revision}"), 255 - MASK)
    report = index(predicted)
    labels = {Path(entry["label"]).name for entry in entries(load(report.path.parent))}
    assert labels == {f"{name}_mask_{revision}.png" for name in NAMES}
    (error,) = report.refused
    assert isinstance(error, SkippedError)
    assert error.reason.startswith("holds 7 files more that Delineate wrote: results.csv, drafts that were replaced")


@pytest.mark.parametrize("is_draft", [True, False])
def test_a_revision_beside_a_mask_that_somebody_changed_is_refused(
    predicted: Path, drafts: list[Path], is_draft: bool
) -> None:
    """Or one of which the table does not tell: nothing but their order could choose."""
    save(drafts[0].with_stem("a_mask_corrected"), 255 - MASK)
    if is_draft:
        save(drafts[0], 255 - MASK)
    else:
        (predicted / "masks/results.csv").unlink()
    names = [Path(error.source).name for error in index(predicted, corrected=True).refused]
    assert sorted(names)[:2] == ["a_mask.png", "a_mask_corrected.png"]


def test_an_image_with_a_draft_and_another_mask_is_refused(predicted: Path, drafts: list[Path]) -> None:
    save(drafts[0].with_stem("a_mask_anna"), 255 - MASK)
    report = index(predicted, corrected=True)
    assert "a.png: has Delineate's draft a_mask.png, and a_mask_anna.png beside it" in str(report.refused[0])
    assert sum(report.splits.values()) == len(NAMES) - 1


def test_a_changed_mask_that_is_no_label_is_refused_by_name_and_its_image_too(
    predicted: Path, drafts: list[Path]
) -> None:
    """As ``segment`` of a copy of the images left them: ``a_2_mask.png`` is of an ``a.png``, too."""
    second = predicted / "masks/a_2_mask.png"
    save(second, MASK)
    list_results(
        predicted / "masks",
        *(
            {"input": f"{one}/a.png", "mask": mask.name, "files_sha256": f"mask {sha256(mask)}"}
            for one, mask in (("old", drafts[0]), ("new", second))
        ),
    )
    save(second, 255 - MASK)
    refused = index(predicted, corrected=True).refused
    assert [(Path(error.source).name, type(error)) for error in refused] == [
        ("a.png", InputError),
        ("a_2_mask.png", InputError),
        ("masks", SkippedError),
    ]
    assert "was changed since Delineate wrote it, and is the label of no image here" in str(refused[1])


def test_photos_and_their_predictions_are_a_layout(predicted: Path, drafts: list[Path]) -> None:
    (predicted / "masks").rename(predicted / "predictions")
    assert "holds 6 masks that Delineate drew" in refusal(predicted)
    assert sum(index(predicted, corrected=True).splits.values()) == len(NAMES)


def test_other_peoples_predictions_are_no_layout(predicted: Path) -> None:
    (predicted / "masks").rename(predicted / "predictions")
    (predicted / "predictions/results.csv").unlink()
    assert "no known layout" in refusal(predicted)


def test_overlays_beside_them_are_passed_over_in_one_line(predicted: Path) -> None:
    (error,) = index(predicted, corrected=True).refused
    assert isinstance(error, SkippedError)
    assert error.reason.startswith("holds 7 files more that Delineate wrote")


def test_masks_of_a_person_beside_predictions_are_taken(predicted: Path) -> None:
    for seed, name in enumerate("xyz", start=10):
        save(predicted / f"photos/{name}.png", picture(seed))
        save(predicted / f"masks/{name}_mask.png", MASK)
    report = index(predicted)
    assert {Path(entry["image"]).stem for entry in entries(load(report.path.parent))} == set("xyz")
    assert [error.source for error in report.refused if "not labels" in error.remedy] == [str(predicted / "masks")]


def test_a_table_that_a_spreadsheet_saved_again_still_tells(predicted: Path) -> None:
    list_results(predicted / "masks", *({"input": "ä.png", "mask": f"{n}_mask.png"} for n in NAMES), separator=";")
    table = predicted / "masks/results.csv"
    table.write_bytes(table.read_text(encoding="utf-8-sig").encode("cp1252"))
    assert SAID in refusal(predicted)


def test_a_link_to_a_prediction_is_one(predicted: Path) -> None:
    shutil.move(predicted / "masks", predicted.parent / "predictions")
    (predicted / "masks").mkdir()
    for name in NAMES:
        (predicted / f"masks/{name}.png").symlink_to(predicted.parent / f"predictions/{name}_mask.png")
    assert SAID in refusal(predicted)


def test_a_table_above_the_folder_of_the_masks_tells(predicted: Path) -> None:
    """``segment photos/ --out .`` of images in folders writes masks into folders of the same names."""
    shutil.move(predicted / "masks/results.csv", predicted)
    list_results(predicted, *({"input": name, "mask": f"masks/{name}_mask.png"} for name in NAMES))
    assert SAID in refusal(predicted)


@pytest.mark.parametrize("text", ["patient,age\na,3\n", "mask\na_mask.png\n", ""])
def test_another_table_of_that_name_says_nothing(predicted: Path, text: str) -> None:
    (predicted / "masks/results.csv").write_text(text)
    for overlay in (predicted / "masks").glob("*_overlay.png"):
        overlay.unlink()
    assert sum(index(predicted).splits.values()) == len(NAMES)


def test_labels_without_a_table_are_labels(tmp_path: Path) -> None:
    report = index(make_paired(tmp_path / "source"))
    assert not report.refused
    assert not any("Delineate" in note for note in report.notes)


def test_what_delineate_wrote_is_no_image(tmp_path: Path) -> None:
    """As with ``--unlabelled``, where overlays lie beside the images, and for secondary captures beside DICOM files."""
    list_results(tmp_path, {"input": "a.dcm", "overlay": "a_overlay.png", "sc": "a_sc.dcm"})
    items = [Item.of(tmp_path / name) for name in ("a.dcm", "a_overlay.png", "a_sc.dcm")]
    kept, (error,) = without_predictions(items, [], corrected=False)
    assert kept == items[:1]
    assert error.reason.startswith("holds 2 files more")


def test_a_table_of_images_and_labels_takes_no_predictions_either(predicted: Path) -> None:
    table = predicted / "pairs.csv"
    table.write_text("image,label\n" + "".join(f"photos/{n}.png,masks/{n}_mask.png\n" for n in NAMES))
    assert SAID in refusal(table)


def test_segmentation_objects_that_delineate_wrote_are_no_labels(tmp_path: Path) -> None:
    list_results(tmp_path, {"input": "a.dcm", "seg": "a_seg.dcm"})
    item = Item.of(tmp_path / "a.dcm", tmp_path / "a_seg.dcm")
    assert without_predictions([item], [], corrected=False)[0] == []
    assert without_predictions([item], [], corrected=True)[0] == [item]


@pytest.mark.parametrize("corrected", [False, True])
def test_the_command_takes_them_with_corrected(predicted: Path, corrected: bool) -> None:
    words = ["data", "index", str(predicted), "--out", str(predicted.parent / "out")]
    result = CliRunner().invoke(app, [*words, *(["--corrected"] if corrected else [])])
    assert (result.exit_code == 0) == corrected
    assert not corrected or "6 masks drawn by Delineate" in result.output


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """What ``delineate segment BUNDLE volumes/ --out predictions/`` leaves."""
    source = tmp_path / "source"
    grid = np.zeros((8, 8, 4), np.uint8)
    grid[2:5, 2:5] = 1
    for seed, name in enumerate(NAMES):
        noise = np.random.default_rng(seed).integers(0, 255, grid.shape, np.uint8)
        for place, voxels in ((f"volumes/{name}", noise), (f"predictions/{name}_mask", grid)):
            (source / place).parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), source / f"{place}.nii.gz")
    masks = sorted((source / "predictions").iterdir())
    list_results(
        source / "predictions",
        *({"input": mask.name, "mask": mask.name, "files_sha256": f"mask {sha256(mask)}"} for mask in masks),
    )
    return source


@pytest.mark.parametrize("beside", [True, False])
def test_a_volume_with_a_draft_and_another_mask_is_refused(volumes: Path, beside: bool) -> None:
    folder = volumes / ("volumes" if beside else "predictions")
    shutil.copy(volumes / "volumes/b.nii.gz", volumes / "predictions/a_mask_anna.nii.gz")
    if beside:
        for file in [*(volumes / "predictions").iterdir()]:
            file.rename(folder / file.name)
    report = index(folder if beside else volumes, corrected=True)
    reasons = {Path(error.source).name: error.reason for error in report.refused}
    assert reasons["a.nii.gz"] == "has Delineate's draft a_mask.nii.gz, and a_mask_anna.nii.gz beside it"


def test_volumes_and_their_predictions_are_a_layout(volumes: Path) -> None:
    assert "holds 6 masks that Delineate drew" in refusal(volumes)
    report = index(volumes, corrected=True)
    assert (report.layout, report.reason) == ("nifti", "holds volumes in volumes/ with predictions/")
    assert sum(report.splits.values()) == len(NAMES) * 4


@pytest.mark.parametrize("beside", [True, False])
def test_a_revised_volume_is_the_label_in_place_of_its_draft(volumes: Path, beside: bool) -> None:
    for draft in sorted((volumes / "predictions").glob("*_mask.nii.gz")):
        shutil.copy(draft, draft.with_name(draft.name.replace("_mask", "_mask-edited")))
    if beside:
        for file in [*(volumes / "predictions").iterdir()]:
            file.rename(volumes / "volumes" / file.name)
    report = index(volumes / "volumes" if beside else volumes)
    labels = {Path(entry["label"]).name for entry in entries(load(report.path.parent))}
    assert labels == {f"{name}_mask-edited.nii.gz" for name in NAMES}
    assert not [error for error in report.refused if not isinstance(error, SkippedError)]
