from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_files import write_image, write_series
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from delineate.pipelines.core.errors import DelineateError, InputError, NotedError, SkippedError
from delineate.pipelines.imaging.item import Item
from delineate.pipelines.imaging.reading import read_pixels
from delineate.pipelines.imaging.volumes.slicing import Axis, Slicing
from delineate.pipelines.imaging.writers import write_pixels
from delineate.pipelines.inference.inputs import find_images
from delineate.pipelines.inference.result_table import COLUMNS, as_csv


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def names(*sources: str | Path) -> list[str]:
    return [item["name"] for item in find_images(sources)]


def refused(*sources: str | Path) -> tuple[list[dict[str, str]], list[str]]:
    errors: list[InputError] = []
    return find_images(sources, errors.append), [str(error) for error in errors]


def test_a_file_is_named_after_itself(tmp_path: Path) -> None:
    path = touch(tmp_path, "photo.jpg") / "photo.jpg"
    assert find_images(path) == [{"image": str(path), "name": "photo"}]
    assert find_images(str(path)) == find_images([path])


def test_a_folder_is_searched_to_any_depth_in_order(tmp_path: Path) -> None:
    touch(tmp_path, "b.png", "a.JPG", "sub/deep/c.tiff", "sub/d.bmp")
    assert names(tmp_path) == ["a", "b", "sub/d", "sub/deep/c"]


def test_what_is_no_image_or_hidden_is_passed_over_in_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "notes.txt", ".hidden.png", ".cache/b.png", "b.png.part")
    assert names(tmp_path) == ["a"]


def test_files_that_hold_images_in_another_form_are_refused_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.gif", "sub/c.mp4", "d.zip", "notes.txt", "Thumbs.db", ".d.gif")
    found, errors = refused(tmp_path)
    assert [item["name"] for item in found] == ["a"]
    assert [error.partition(":")[0] for error in errors] == [
        str(tmp_path / name) for name in ("b.gif", "d.zip", "sub/c.mp4")
    ]


@pytest.mark.parametrize("name", ["photo", "photo.dat", "photo.dcm", "photo.jpe", "photo.JFIF", "photo.webp"])
def test_a_picture_is_found_whatever_its_name(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / name, "WEBP" if name.endswith("webp") else "JPEG")
    (item,) = find_images(tmp_path, pytest.fail)
    assert item["image"] == str(tmp_path / name)
    assert read_pixels(Item.from_fields(item)).shape == (8, 8, 3)


def test_a_pipe_in_a_folder_is_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(touch(tmp_path, "a.png") / "pipe.png")
    os.mkfifo(tmp_path / "pipe")
    found, errors = refused(tmp_path)
    assert [item["name"] for item in found] == ["a"]
    assert ["is no regular file" in error for error in errors] == [True]


def test_a_folder_called_like_an_image_is_no_image(tmp_path: Path) -> None:
    touch(tmp_path, "a.png/b.png")
    assert names(tmp_path) == ["a.png/b"]


@pytest.mark.parametrize(("pattern", "found"), [("*.png", ["a", "b"]), ("**/*.png", ["a", "b", "c"]), ("[b]*", ["b"])])
def test_globs_are_expanded(tmp_path: Path, pattern: str, found: list[str]) -> None:
    touch(tmp_path, "a.png", "b.png", "d.jpg", "sub/c.png")
    assert names(f"{tmp_path}/{pattern}") == found


def test_a_glob_may_match_folders(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.png", "two/b.png")
    assert names(f"{tmp_path}/*") == ["a", "b"]


@pytest.mark.parametrize("name", ["photo [1].png", "a*b.png", "what?.png", " blank .png", "über (2).png", "[a].png"])
def test_odd_names_are_taken_as_they_are(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name, "a.png")
    assert find_images(tmp_path / name) == [{"image": str(tmp_path / name), "name": Path(name).stem}]


def test_a_folder_with_brackets_is_searched(tmp_path: Path) -> None:
    touch(tmp_path, "set [1]/a.png")
    assert names(tmp_path / "set [1]") == ["a"]


def test_an_image_named_twice_is_taken_once(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.png")
    assert names(tmp_path / "b.png", tmp_path, tmp_path / "sub/../a.png", f"{tmp_path}/*.png") == ["b", "a"]


def test_a_missing_file_is_left_to_be_refused_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "missing.png"
    assert refused(path) == ([{"image": str(path), "name": "missing"}], [])


@pytest.mark.parametrize("source", ["", "*.png"])
def test_a_source_without_images_is_refused_and_the_rest_goes_on(tmp_path: Path, source: str) -> None:
    touch(tmp_path, "empty/notes.txt", "a.png")
    found, errors = refused(f"{tmp_path}/empty/{source}", tmp_path / "a.png")
    assert [item["name"] for item in found] == ["a"]
    assert len(errors) == 1
    assert "no image found; name image files (.avif, .bmp, " in errors[0]


def test_what_is_refused_is_logged_unless_told_otherwise(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "delineate"):
        assert find_images(tmp_path) == []
    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path}: no image found; name image files (.avif, .bmp, ")


def test_images_of_one_stem_keep_their_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.png", "b.png")
    assert names(tmp_path) == ["a.jpg", "a.png", "b"]


def test_images_of_one_name_in_several_folders_are_numbered(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.png", "two/a.png", "three/a.png")
    assert names(*(tmp_path / f"{folder}/a.png" for folder in ("one", "two", "three"))) == [
        "a.png",
        "a.png_2",
        "a.png_3",
    ]


NAME = st.sampled_from(["a", "a.png", "a.png_2", "a_2", "a.b", "a_mask", "b", "b [1]", "b_2", "b.jpg"])
FILE = st.tuples(st.sampled_from(["", "one", "two", "one/sub"]), NAME, st.sampled_from([".png", ".jpg", ".PNG"]))


@given(st.lists(FILE, min_size=1, max_size=12, unique=True), st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_output_overwrites_another(files: list[tuple[str, str, str]], one_by_one: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for index, (sub, stem, suffix) in enumerate(files):
            path = Path(folder, str(index % 3), sub, stem + suffix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            paths.append(path)
        found = find_images(paths if one_by_one else folder)
        outputs = [f"{item['name']}_{kind}.png" for item in found for kind in ("mask", "overlay", "probability")]
        assert len(set(outputs)) == len(outputs)
        assert not any(Path(item["name"]).is_absolute() or ".." in Path(item["name"]).parts for item in found)
        if one_by_one:
            assert [item["image"] for item in found] == [str(path) for path in paths]


def test_masks_that_were_written_beside_their_images_are_no_images(tmp_path: Path) -> None:
    """`segment photos --out photos/masks`, twice: the second time masks would be segmented."""
    touch(tmp_path, "a.png", "b_mask.png", "masks/a_mask.png", "masks/a_overlay.png", "masks/mine.png")
    write_table(tmp_path / "masks", mask="a_mask.png", overlay="a_overlay.png")
    found, errors = refused(tmp_path)
    assert [item["name"] for item in found] == ["a", "b_mask", "masks/mine"]
    assert errors == [
        f"{tmp_path}: holds 2 masks or overlays that Delineate wrote; passed over; name one by itself to segment it"
    ]
    assert names(tmp_path / "masks/a_mask.png") == ["a_mask"]


def test_masks_that_were_saved_without_a_table_are_no_images_either(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    write_pixels(tmp_path / "b.png", np.ones((4, 6), np.uint8))
    found, errors = refused(tmp_path)
    assert [item["name"] for item in found] == ["a"]
    assert errors[0].startswith(f"{tmp_path}: holds 1 mask or overlay that Delineate wrote")


def test_what_is_no_image_and_what_is_hidden_or_linked_is_passed_over_without_a_word(tmp_path: Path) -> None:
    """As README and docs/data.md say; a GIF or a PDF is named."""
    source = tmp_path / "source"
    others = ("readme.txt", "table.csv", "a.docx", "notes", ".DS_Store", ".b.png", ".hidden/h.jpg")
    touch(tmp_path, "elsewhere/c.png")
    touch(source, "a.png", *others, "film.gif", "report.pdf")
    (source / "linked").symlink_to(tmp_path / "elsewhere")
    found, errors = refused(source)
    assert [item["name"] for item in found] == ["a"]
    assert [Path(error.split(":")[0]).name for error in errors] == ["film.gif", "report.pdf"]


@pytest.mark.parametrize("text", ["input;mask\n", "", "patient,age\nx,3\n"], ids=["semicolons", "empty", "another"])
def test_another_table_of_that_name_says_nothing(tmp_path: Path, text: str) -> None:
    touch(tmp_path, "a.png")
    (tmp_path / "results.csv").write_text(text)
    assert names(tmp_path) == ["a"]


def test_what_was_refused_comes_along_with_the_items(tmp_path: Path) -> None:
    found = find_images([tmp_path], lambda _: None)
    assert (found, [error.reason for error in found.refused]) == ([], ["no image found"])


def write_table(folder: Path, **cells: str) -> None:
    row = dict.fromkeys(COLUMNS, "") | {"input": "a.png"} | cells
    (folder / "results.csv").write_text(as_csv([row], COLUMNS), encoding="utf-8-sig")


# volumes and DICOM

VOXELS = np.zeros((6, 5, 4), np.int16)
AXIAL = Slicing("axial")


def volume(path: Path, voxels: np.ndarray = VOXELS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    return path


def counted(source: Path, slicing: Slicing) -> dict[str, int]:
    """How many items there are of each name."""
    found = [str(item["name"]) for item in find_images(source, pytest.fail, slicing)]
    return {name: found.count(name) for name in dict.fromkeys(found)}


@pytest.mark.parametrize(("axis", "count"), [("axial", 4), ("coronal", 5), ("sagittal", 6)])
def test_a_volume_is_found_slice_by_slice(tmp_path: Path, axis: Axis, count: int) -> None:
    path = volume(tmp_path / "ct.nii.gz")
    expected = [{"name": "ct", "image": str(path), "slice": index, "slices": count} for index in range(count)]
    assert find_images(path, slicing={"axis": axis}) == expected


def test_a_volume_that_nothing_cuts_is_left_to_be_refused_when_it_is_read(tmp_path: Path) -> None:
    path = volume(tmp_path / "ct.nii.gz")
    assert find_images(path) == [{"name": "ct", "image": str(path)}]


def test_a_broken_volume_is_refused_once_and_the_rest_goes_on(tmp_path: Path) -> None:
    volume(tmp_path / "a.nii.gz").write_bytes(b"no volume")
    volume(tmp_path / "b.nii.gz")
    errors: list[InputError] = []
    found = find_images([tmp_path, tmp_path / "missing.nii.gz"], errors.append, AXIAL)
    assert [item["name"] for item in found] == ["b"] * 4
    assert [Path(error.source).name for error in errors] == ["a.nii.gz", "missing.nii.gz"]


def test_modalities_of_a_case_are_one_image(tmp_path: Path) -> None:
    paths = [volume(tmp_path / f"sub/{case}_000{number}.nii.gz") for case in "ab" for number in (0, 1)]
    found = find_images(tmp_path, pytest.fail, Slicing("axial", modalities=2))
    assert [item["name"] for item in found] == ["sub/a"] * 4 + ["sub/b"] * 4
    assert [item["image"] for item in found[::4]] == [list(map(str, paths[:2])), list(map(str, paths[2:]))]


@pytest.mark.parametrize("names", [["a_0000"], ["a_0000", "a_0002"], ["a_0000", "a_0001", "a_0002"], ["a"]])
def test_a_case_with_other_modalities_is_refused_by_name(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        volume(tmp_path / f"{name}.nii.gz")
    errors: list[InputError] = []
    assert find_images(tmp_path, errors.append, Slicing("axial", modalities=2)) == []
    assert [Path(error.source).name for error in errors] == [f"{names[0]}.nii.gz"]
    assert "2 modalities are needed, X_0000, X_0001 and so on" in str(errors[0])


def test_a_series_is_named_after_its_folder_whatever_its_files_are_called(tmp_path: Path) -> None:
    write_series(tmp_path / "case/ct", VOXELS, np.eye(4), names=["z", "IM.2", "0001", "a.dcm"], SeriesInstanceUID="1.2")
    for source, name in ((tmp_path, "case/ct"), (tmp_path / "case", "ct"), (tmp_path / "case/ct", "ct")):
        items = find_images(source, pytest.fail, AXIAL)
        common = {"name": name, "image": str(tmp_path / "case/ct"), "series": "1.2", "slices": 4}
        assert items == [common | {"slice": index} for index in range(4)]


def test_series_of_one_folder_are_told_apart(tmp_path: Path) -> None:
    for number in (1, 2):
        write_series(tmp_path / "ct", VOXELS, np.eye(4), [f"{number}_{index}" for index in range(4)])
    items = find_images(tmp_path, pytest.fail, AXIAL)
    assert counted(tmp_path, AXIAL) == {"ct": 4, "ct_2": 4}
    assert len({item["series"] for item in items}) == 2


def test_a_series_in_several_folders_is_one_volume(tmp_path: Path) -> None:
    write_series(tmp_path / "case/ct", VOXELS, np.eye(4))
    (tmp_path / "case/more").mkdir()
    first = min((tmp_path / "case/ct").iterdir())
    first.rename(tmp_path / "case/more" / first.name)
    items = find_images(tmp_path, slicing=AXIAL)
    assert {(item["name"], item["image"], item["slices"]) for item in items} == {("case", str(tmp_path / "case"), 4)}


def test_some_slices_of_a_series_are_refused_as_a_volume(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", VOXELS, np.eye(4))
    errors: list[InputError] = []
    assert not find_images(sorted((tmp_path / "ct").iterdir())[:2], errors.append, AXIAL)
    assert [Path(error.source).name for error in errors] == ["0.dcm", "1.dcm"]
    assert {error.reason for error in errors} == {"is one of 2 named slices of a series of 4"}
    assert errors[0].remedy == f"name the folder {tmp_path / 'ct'} to have its volume, or one slice alone"


def test_without_an_axis_a_series_is_so_many_images(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", VOXELS, np.eye(4))
    assert counted(tmp_path, Slicing()) == {f"ct/{index}": 1 for index in range(4)}


@pytest.mark.parametrize("slicing", [Slicing(), AXIAL])
def test_frames_that_are_no_volume_are_numbered_from_1(tmp_path: Path, slicing: Slicing) -> None:
    path = write_image(tmp_path / "cine.dcm", np.zeros((12, 4, 4), np.uint8))
    items = find_images(path, pytest.fail, slicing)
    assert [item["name"] for item in items] == [f"cine_frame_{number:02}" for number in range(1, 13)]
    assert [(item["image"], item["slice"]) for item in items] == [(str(path), index) for index in range(12)]


def test_one_dicom_image_is_an_image(tmp_path: Path) -> None:
    path = write_image(tmp_path / "xray", np.zeros((4, 4), np.uint8))
    assert find_images(tmp_path, pytest.fail, AXIAL) == [{"name": "xray", "image": str(path)}]


def test_pictures_volumes_and_dicom_come_in_the_order_of_their_files(tmp_path: Path) -> None:
    volume(tmp_path / "b.nii.gz")
    write_image(tmp_path / "c", np.zeros((4, 4), np.uint8))
    write_series(tmp_path / "d", VOXELS, np.eye(4))
    touch(tmp_path, "a.png", "e.png", "notes.txt")
    assert counted(tmp_path, AXIAL) == {"a": 1, "b": 4, "c": 1, "d": 4, "e": 1}


def test_a_copy_of_a_slice_is_passed_over(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", VOXELS, np.eye(4))
    (tmp_path / "ct/copy.dcm").write_bytes((tmp_path / "ct/2.dcm").read_bytes())
    errors: list[InputError] = []
    assert len(find_images(tmp_path, errors.append, AXIAL)) == 4
    assert [type(error) for error in errors] == [SkippedError]


def test_a_series_with_a_gap_is_refused_as_a_whole(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", VOXELS, np.eye(4))
    (tmp_path / "ct/1.dcm").unlink()
    errors: list[InputError] = []
    assert find_images(tmp_path, errors.append, AXIAL) == []
    assert [error.source for error in errors] == [str(tmp_path / "ct")]
    assert "name the files, not the folder" in errors[0].remedy


@pytest.mark.parametrize("form", ["all", "some", "glob"])
def test_named_files_of_a_series_with_a_gap_are_images_of_their_own(tmp_path: Path, form: str) -> None:
    write_series(tmp_path / "ct", VOXELS, np.eye(4))
    (tmp_path / "ct/1.dcm").unlink()
    files = sorted((tmp_path / "ct").iterdir())
    sources: dict[str, str | list[Path]] = {"all": files, "some": files[:2], "glob": str(tmp_path / "ct/*.dcm")}
    errors: list[InputError] = []
    found = find_images(sources[form], errors.append, AXIAL)
    expected = files[:2] if form == "some" else files
    assert [item["image"] for item in found] == list(map(str, expected))
    assert [(type(error), error.source) for error in errors] == [(NotedError, str(tmp_path / "ct"))]
    assert errors[0].remedy == f"its {len(expected)} named images are taken one by one"


def test_images_of_one_place_are_taken_one_by_one_and_none_is_called_refused(tmp_path: Path) -> None:
    for name in "ab":
        write_series(tmp_path / "ct", VOXELS[..., :1] + ord(name), np.eye(4), [name], SeriesInstanceUID="1.2")
    errors: list[InputError] = []
    assert [item["name"] for item in find_images(tmp_path, errors.append, AXIAL)] == ["ct/a", "ct/b"]
    assert [type(error) for error in errors] == [NotedError]
    assert str(errors[0]).endswith(
        "ct: series 1.2 has 2 images at 1 place (echoes? times?), so it is not a volume; "
        "its images are taken one by one: a, b"
    )


def test_a_volume_and_a_picture_of_one_name_keep_their_masks_apart(tmp_path: Path) -> None:
    volume(tmp_path / "a.nii.gz")
    touch(tmp_path, "a.png")
    assert counted(tmp_path, AXIAL) == {"a.nii.gz": 4, "a.png": 1}


def test_settings_of_slicing_that_are_wrong_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match="did you mean 'axial'"):
        find_images(tmp_path, slicing={"axis": "axail"})
