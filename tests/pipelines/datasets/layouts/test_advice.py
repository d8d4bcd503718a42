from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from delineate.pipelines.core.errors import InputError
from delineate.pipelines.datasets.layouts import detect

PAIRS = ("images/a.png", "images/b.png", "masks/a.png", "masks/b.png")


def advice(source: Path) -> str:
    with pytest.raises(InputError) as error:
        detect(source)
    return str(error.value)


def test_pictures_without_masks_are_to_be_given_masks_that_a_person_drew_or_corrected(
    tmp_path: Path, touch: Any
) -> None:
    text = advice(touch(tmp_path, "a.jpg", "b.jpg", "more/c.jpg"))
    assert "3 pictures and no masks that fit them" in text
    assert "masks that a person drew into masks/ beside images/" in text
    assert f"drafts (delineate segment RUN {tmp_path} --out predictions), every one of which a person has to" in text


def test_pictures_with_labels_that_are_no_pictures_have_no_masks(tmp_path: Path, touch: Any) -> None:
    assert "no masks that fit" in advice(touch(tmp_path, "images/a.png", "labels/a.txt"))


@pytest.mark.parametrize("above", ["set", "download/set"])
def test_a_folder_too_high_names_the_one_below(tmp_path: Path, above: str, touch: Any) -> None:
    text = advice(touch(tmp_path, *(f"{above}/{name}" for name in PAIRS)))
    assert f"{above}/ (paired); index it: delineate data index {tmp_path / above} --out DATASET" in text


def test_a_folder_of_several_sets_names_the_command_for_all(tmp_path: Path, touch: Any) -> None:
    text = advice(touch(tmp_path, *(f"{above}/{name}" for name in PAIRS for above in ("one", "two"))))
    assert "one/ (paired), two/ (paired); index them as one data set" in text
    assert f"delineate data index {tmp_path / 'one'} {tmp_path / 'two'} --out DATASET" in text


def test_a_folder_of_many_patients_names_all_of_them_in_a_few_words(tmp_path: Path, touch: Any) -> None:
    text = advice(touch(tmp_path, *(f"{number}/{name}" for name in ("a.png", "a_mask.png") for number in range(7))))
    assert "4/ (paired) and 2 more; index them as one data set" in text
    assert f"delineate data index {tmp_path}/* --out DATASET (where each folder is one patient: --group-by-f" in text


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_a_folder_too_low_names_the_one_above(tmp_path: Path, folder: str, touch: Any) -> None:
    text = advice(touch(tmp_path, *PAIRS) / folder)
    assert f"has the layout paired; index the folder above: delineate data index {tmp_path} --out DATASET" in text


def test_a_folder_beside_a_pair_is_not_taken_for_a_part_of_it(tmp_path: Path, touch: Any) -> None:
    text = advice(touch(tmp_path, *PAIRS, "only/c.png") / "only")
    assert "1 picture and no masks that fit them" in text
    assert str(tmp_path / "only") in text
    assert "folder above" not in text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.zip", "is an archive, not a folder; unpack it first"),
        ("a.tar.gz", "is an archive, not a folder; unpack it first"),
        ("a.nii.gz", "is one volume, not a folder; name the folder"),
        ("a.JPG", "is one picture, not a folder; name the folder of images and masks; to outline it"),
        ("a.doc", "is not a folder; name the folder"),
    ],
)
def test_a_file_in_place_of_a_folder_is_told_what_it_is(tmp_path: Path, name: str, said: str, touch: Any) -> None:
    assert said in advice(touch(tmp_path, name) / name)


def test_a_folder_of_archives_is_to_be_unpacked(tmp_path: Path, touch: Any) -> None:
    assert "holds archives (a.zip, b.zip); unpack them first" in advice(touch(tmp_path, "a.zip", "b.zip"))


def test_a_data_set_is_called_one(tmp_path: Path, touch: Any) -> None:
    assert "is a data set already" in advice(touch(tmp_path, "datalist.json"))
