from __future__ import annotations

from pathlib import Path

import pytest

from delineate.pipelines.data.layouts import LAYOUTS, Found, busi, detect, isic, paired
from delineate.pipelines.errors import InputError

# Layouts look at names only, so the files may be empty.


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def pairs(found: Found) -> list[tuple[str, ...]]:
    return [(item.image.name, *(label.name for label in item.label)) for item in found[0]]


def refusals(found: Found) -> dict[str, str]:
    return {Path(error.source).name: error.reason for error in found[1]}


ISIC_NAMES = {
    "2016": ("ISBI2016_ISIC_Part1_{}_Data", "ISBI2016_ISIC_Part1_{}_GroundTruth", "_Segmentation.png"),
    "2017": ("ISIC-2017_{}_Data", "ISIC-2017_{}_Part1_GroundTruth", "_segmentation.png"),
    "2018": ("ISIC2018_Task1-2_{}_Input", "ISIC2018_Task1_{}_GroundTruth", "_segmentation.png"),
}


def isic_part(root: Path, year: str, part: str, *ids: str) -> Path:
    images, masks, ending = ISIC_NAMES[year]
    for name in ids:
        touch(root, f"{images.format(part)}/{name}.jpg", f"{masks.format(part)}/{name}{ending}")
    return root


@pytest.mark.parametrize("year", ISIC_NAMES)
def test_isic_pairs_images_and_masks_of_each_year(tmp_path: Path, year: str) -> None:
    found = isic(isic_part(tmp_path, year, "Training", "ISIC_0000001", "ISIC_0000002"))
    assert [(item.image.stem, item.label[0].stem.lower(), item.group) for item in found[0]] == [
        (name, f"{name}_segmentation".lower(), name) for name in ("ISIC_0000001", "ISIC_0000002")
    ]
    assert not found[1]


@pytest.mark.parametrize(("year", "test"), [("2017", "Test_v2"), ("2018", "Test")])
def test_isic_keeps_the_official_split_where_it_is_complete(tmp_path: Path, year: str, test: str) -> None:
    for number, part in enumerate(("Training", "Validation", test)):
        isic_part(tmp_path, year, part, f"ISIC_000000{number}")
    assert {item.group: item.official for item in isic(tmp_path)[0]} == {
        "ISIC_0000000": "training",
        "ISIC_0000001": "validation",
        "ISIC_0000002": "test",
    }


def test_isic_pools_an_incomplete_official_split(tmp_path: Path) -> None:
    isic_part(tmp_path, "2018", "Training", "ISIC_0000001")
    isic_part(tmp_path, "2018", "Validation", "ISIC_0000002")
    assert [item.official for item in isic(tmp_path)[0]] == [None, None]


def test_isic_pools_several_years_and_gives_one_id_one_group(tmp_path: Path) -> None:
    for part in ("Training", "Validation", "Test"):
        isic_part(tmp_path, "2018", part, f"ISIC_{len(part):07}")
    isic_part(tmp_path, "2017", "Validation", f"ISIC_{len('Training'):07}")
    items = isic(tmp_path)[0]
    assert {item.official for item in items} == {None}
    assert sorted(item.group for item in items) == [
        "ISIC_0000004",
        "ISIC_0000008",
        "ISIC_0000008",
        "ISIC_0000010",
    ]


def test_isic_ignores_superpixels_and_notes(tmp_path: Path) -> None:
    isic_part(tmp_path, "2017", "Training", "ISIC_0000001")
    folder = "ISIC-2017_Training_Data"
    touch(tmp_path, f"{folder}/ISIC_0000001_superpixels.png", f"{folder}/ISIC-2017_Training_Data_metadata.csv")
    found = isic(tmp_path)
    assert pairs(found) == [("ISIC_0000001.jpg", "ISIC_0000001_segmentation.png")]
    assert not found[1]


@pytest.mark.parametrize("pattern", [0, 1])
def test_isic_refuses_a_folder_whose_counterpart_is_missing(tmp_path: Path, pattern: int) -> None:
    folder = ISIC_NAMES["2018"][pattern].format("Test")
    (tmp_path / folder).mkdir()
    missing = ISIC_NAMES["2018"][1 - pattern].format("Test")
    assert refusals(isic(tmp_path)) == {folder: f"{missing} is missing"}


@pytest.mark.parametrize("above", ["", "Dataset_BUSI_with_GT"])
def test_busi_unites_all_masks_of_an_image_and_keeps_its_class(tmp_path: Path, above: str) -> None:
    names = [f"benign/benign (4){end}.png" for end in ("", "_mask", "_mask_1", "_mask_2")]
    touch(tmp_path / above, *names, "normal/normal (1).png", "normal/normal (1)_mask.png")
    found = busi(tmp_path)
    assert pairs(found) == [
        tuple(Path(name).name for name in names),
        ("normal (1).png", "normal (1)_mask.png"),
    ]
    assert [item.fields for item in found[0]] == [{"class": "benign"}, {"class": "normal"}]


def test_busi_refuses_an_image_without_a_mask_and_a_mask_without_an_image(tmp_path: Path) -> None:
    found = busi(touch(tmp_path, "benign/benign (1).png", "malignant/malignant (1)_mask_1.png"))
    assert not found[0]
    assert refusals(found) == {
        "benign (1).png": "image has no mask",
        "malignant (1)_mask_1.png": "mask has no image",
    }


@pytest.mark.parametrize("mask", ["a b [1].png", "a b [1].TIF", "a b [1]_mask.bmp", "a b [1]_segmentation.png"])
def test_paired_matches_names_with_and_without_a_suffix(tmp_path: Path, mask: str) -> None:
    found = paired(touch(tmp_path, "images/a b [1].JPG", f"masks/{mask}"))
    assert pairs(found) == [("a b [1].JPG", mask)]
    assert found[0][0].group == "a b [1]"
    assert not found[1]


def test_paired_takes_folder_names_in_any_case(tmp_path: Path) -> None:
    assert pairs(paired(touch(tmp_path, "Images/a.png", "MASKS/a.png"))) == [("a.png", "a.png")]


def test_paired_takes_an_image_whose_own_name_ends_like_a_mask(tmp_path: Path) -> None:
    found = paired(touch(tmp_path, "images/face_mask.png", "masks/face_mask.png"))
    assert pairs(found) == [("face_mask.png", "face_mask.png")]


def test_paired_refuses_what_has_no_counterpart_by_name(tmp_path: Path) -> None:
    found = paired(touch(tmp_path, "images/a.png", "images/b.png", "masks/b.png", "masks/c_mask.png"))
    assert pairs(found) == [("b.png", "b.png")]
    assert refusals(found) == {"a.png": "image has no mask", "c_mask.png": "mask has no image"}


def test_paired_refuses_two_images_of_one_name(tmp_path: Path) -> None:
    found = paired(touch(tmp_path, "images/a.jpg", "images/a.png", "masks/a.png"))
    assert not found[0]
    assert refusals(found) == {
        "a.jpg": "is one of several images of one name (also a.png)",
        "a.png": "is one of several images of one name (also a.jpg)",
    }


def test_paired_refuses_two_masks_of_one_image(tmp_path: Path) -> None:
    found = paired(touch(tmp_path, "images/a.jpg", "masks/a.png", "masks/a_mask.png"))
    assert not found[0]
    assert set(refusals(found)) == {"a.png", "a_mask.png"}


def test_paired_names_other_files_and_folders_but_not_hidden_ones(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "images/notes.txt", "images/patient 2/b.png")
    touch(tmp_path, "images/.DS_Store", "images/Thumbs.db", "masks/._a.png")
    found = paired(tmp_path)
    assert pairs(found) == [("a.png", "a.png")]
    assert set(refusals(found)) == {"notes.txt", "patient 2"}


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("isic", "ISIC2018_Task1-2_Training_Input/ISIC_0000001.jpg"),
        ("busi", "benign/benign (1).png"),
        ("busi", "Dataset_BUSI_with_GT/benign/benign (1).png"),
        ("paired", "images/a.png"),
    ],
)
def test_a_layout_is_recognised_by_its_folders(tmp_path: Path, name: str, file: str) -> None:
    touch(tmp_path, file)
    if name == "paired":
        touch(tmp_path, "masks/a.png")
    assert detect(tmp_path) == name


def test_an_empty_folder_is_refused_with_the_known_layouts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is an empty folder; one of these layouts is needed: .*busi.*paired"):
        detect(touch(tmp_path, ".DS_Store"))


def test_an_unknown_layout_is_refused_with_what_was_seen(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no known layout \(it holds scans\)"):
        detect(touch(tmp_path, "scans/a.png"))


def test_a_folder_of_two_layouts_asks_for_one(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "benign/benign (1).png")
    with pytest.raises(InputError, match=r"several layouts \(busi, paired\); name one"):
        detect(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        detect(tmp_path / "nowhere")


@pytest.mark.parametrize("name", LAYOUTS)
def test_pairs_do_not_depend_on_the_order_of_the_folder(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    isic_part(tmp_path, "2018", "Training", "ISIC_0000001", "ISIC_0000002")
    touch(tmp_path, *(f"benign/benign ({i}){end}.png" for i in (1, 2) for end in ("", "_mask", "_mask_1")))
    touch(tmp_path, "images/a.png", "images/b.png", "masks/a.png", "masks/b.png")
    expected = pairs(LAYOUTS[name].read(tmp_path))
    entries = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: sorted(entries(self), reverse=True))
    assert len(expected) == 2
    assert pairs(LAYOUTS[name].read(tmp_path)) == expected
