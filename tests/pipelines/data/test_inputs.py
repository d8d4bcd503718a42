from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delineate.pipelines.data.inputs import find_images
from delineate.pipelines.errors import InputError


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
    assert "no image found; name image files (.bmp, .jpeg, " in errors[0]


def test_what_is_refused_is_logged_unless_told_otherwise(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "delineate"):
        assert find_images(tmp_path) == []
    assert caplog.messages == [
        f"{tmp_path}: no image found; name image files (.bmp, .jpeg, .jpg, .png, .tif, .tiff) or a folder"
    ]


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
