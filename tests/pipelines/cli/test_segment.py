"""What ``delineate segment`` prints."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pydicom
from dicom_objects import radiograph
from ensembles import random_bundle
from familiar_bundles import noise, page, teach, write
from PIL import Image
from processes import inside, succeeded
from structured_bundles import structured_bundle


def test_a_folder_is_printed_by_its_name_whatever_that_is(tmp_path: Path) -> None:
    structured_bundle(tmp_path / "chest", exclusive=False)
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / "a.png")
    done = succeeded(inside("segment", "chest", "a.png", "--out", "None/masks", cwd=tmp_path))
    assert "a.png -> None/masks/a_*_mask.png (" in done.stdout


def test_images_unlike_those_of_the_training_are_told_in_one_line(tmp_path: Path) -> None:
    teach(random_bundle(tmp_path / "known", 0))
    (tmp_path / "photos").mkdir()
    for name in "abcde":
        write(tmp_path / "photos" / f"{name}.png", page())
    write(tmp_path / "photos" / "f.png", noise())
    done = succeeded(inside("segment", "known", "photos", "--out", "masks", cwd=tmp_path))
    told = (
        "with: 5 of 6 (photos/a.png, photos/b.png, photos/c.png, ...); check these masks by eye; they have 'no' in the "
        "column familiar of results.csv"
    )
    assert [told in line for line in done.stderr.splitlines()] == [True]


def test_an_image_unlike_those_of_the_training_is_marked_in_its_line_and_below_its_overlay(tmp_path: Path) -> None:
    teach(random_bundle(tmp_path / "known", 0))
    write(tmp_path / "page.png", page())
    write(tmp_path / "noise.png", noise())
    done = succeeded(inside("segment", "known", "page.png", "noise.png", "--out", "out", "--overlay", cwd=tmp_path))
    marked = [
        "unlike most of the images that the network was trained with" in line for line in done.stdout.splitlines()
    ]
    assert marked[-3:] == [True, False, False]
    heights = [len(np.asarray(Image.open(tmp_path / "out" / f"{name}_overlay.png"))) for name in ("page", "noise")]
    assert heights[0] > heights[1] == len(noise())


def test_where_nothing_was_outlined_in_any_image_it_is_said(tmp_path: Path) -> None:
    random_bundle(tmp_path / "known", 0)
    write(tmp_path / "noise.png", noise())
    said = "nothing was outlined, every mask is empty"
    for threshold, empty in (("0.999999", True), ("0.000001", False)):
        done = inside("segment", "known", "noise.png", "--out", threshold, "--threshold", threshold, cwd=tmp_path)
        assert (said in done.stderr) is empty


def test_a_call_goes_on_where_an_earlier_one_stopped(tmp_path: Path) -> None:
    random_bundle(tmp_path / "known", 0)
    (tmp_path / "photos").mkdir()
    for name in "ab":
        write(tmp_path / "photos" / f"{name}.png", noise())
    (tmp_path / "photos" / "c.png").write_bytes(b"")

    def last_line(*words: str) -> str:
        done = inside("segment", "known", "photos", "--out", "masks", *words, cwd=tmp_path)
        assert done.stderr.startswith("refused: photos/c.png: is empty")
        return done.stdout.splitlines()[-1]

    assert last_line() == "2 segmented, 1 refused"
    (tmp_path / "masks" / "b_mask.png").unlink()
    assert last_line("--skip-existing") == "1 segmented, 1 done before, 1 refused"
    table = (tmp_path / "masks" / "results.csv").read_bytes()
    assert last_line("--skip-existing") == "0 segmented, 2 done before, 1 refused"
    assert (tmp_path / "masks" / "results.csv").read_bytes() == table
    assert last_line("--skip-existing", "--threshold", "0.4") == "2 segmented, 0 done before, 1 refused"
    assert last_line() == "2 segmented, 1 refused"


def test_a_mask_and_an_object_that_were_corrected_are_kept_and_named(tmp_path: Path) -> None:
    random_bundle(tmp_path / "known", 0)
    for name in "ab":
        radiograph(tmp_path / f"{name}.dcm")

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return inside("segment", "known", "a.dcm", "b.dcm", "--out", "out", "--format", "png,seg", *words, cwd=tmp_path)

    call()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "out/a_mask.png")
    corrected = pydicom.dcmread(tmp_path / "out/b_seg.dcm")
    corrected.SeriesDescription = "corrected"
    corrected.save_as(tmp_path / "out/b_seg.dcm")
    before = files(tmp_path / "out")
    kept = succeeded(call("--skip-existing"))
    assert [line for line in kept.stderr.splitlines() if "was changed since Delineate wrote it; kept" in line] == [
        "note: a.dcm: its result was changed since Delineate wrote it; kept; its row in results.csv still "
        "describes what Delineate wrote",
        "note: b.dcm: its result was changed since Delineate wrote it; kept; its row in results.csv still "
        "describes what Delineate wrote",
    ]
    assert (
        kept.stdout.splitlines()[-1]
        == "0 segmented, 2 done before (2 changed since they were written: kept), 0 refused"
    )
    assert call("--threshold", "0.4").stdout.splitlines()[-1] == "0 segmented, 2 refused"
    assert files(tmp_path / "out") == before


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".png", ".dcm")}
