from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Mapping
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from segmentations import segmentation, several

from delineate.pipelines.core.errors import DelineateError, InputError, NotedError, SkippedError
from delineate.pipelines.core.sums import sha256
from delineate.pipelines.imaging.item import Item
from delineate.pipelines.inference import result_table, results
from delineate.pipelines.inference.files import OutputOptions
from delineate.pipelines.inference.inputs import find_images
from delineate.pipelines.inference.outputs import Segmentation
from delineate.pipelines.inference.result_table import COLUMNS
from delineate.pipelines.inference.results import ResultFolder, facts_of, model_of, sound_name

FULL, EMPTY = np.ones((4, 6), np.uint8), np.zeros((4, 6), np.uint8)


def result(source: Path | str, mask: np.ndarray = FULL, name: str | None = None, **more: object) -> Segmentation:
    return segmentation(source, mask, name=name, **more)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def test_a_row_tells_where_the_mask_is_and_what_it_was_made_with(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path, {"bundle": "ab12", "delineate": "1.0"}, {"": 0.5})
    (path,) = folder.write(result("photos/a.png", spacing=(0.5, 0.25), name="sub/a"))
    assert path == tmp_path / "sub/a_mask.png"
    (row,) = table(tmp_path)
    assert tuple(row) == COLUMNS
    assert row == dict.fromkeys(COLUMNS, "") | {
        "input": os.path.abspath("photos/a.png"),
        "status": "segmented",
        "mask": "sub/a_mask.png",
        "value": "255",
        "grid": "6x4",
        "foreground": "24",
        "area_or_volume": "3",
        "unit": "mm²",
        "threshold": "0.5",
        "bundle": "ab12",
        "delineate": "1.0",
        "files_sha256": f"mask {sha256(path)}",
        "input_from_here": os.path.relpath("photos/a.png", tmp_path),
    }


def test_without_spacing_the_area_is_in_pixels_and_on_a_detector_it_says_so(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path)
    folder.write(result("a.png"))
    folder.write(result("b.dcm", spacing=(1, 1), spacing_kind="detector"))
    units = [(row["area_or_volume"], row["unit"]) for row in table(tmp_path)]
    assert units == [("24", "pixels"), ("24", "mm² in the detector plane, not corrected for magnification")]


def test_each_row_is_there_as_soon_as_its_mask(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path)
    for number in range(3):
        folder.write(result(f"{number}.png"))
        assert [row["mask"] for row in table(tmp_path)] == [f"{n}_mask.png" for n in range(number + 1)]


def test_refused_and_skipped_inputs_have_rows(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path)
    folder.refuse(InputError("x.png", "is empty", "copy it again"))
    folder.refuse(SkippedError("y.dcm", "is not an image (a report)", "passed over"))
    folder.refuse(NotedError("z.dcm", "has a bad UID", "the image is used"))
    assert [(row["input"], row["status"], row["reason"], row["mask"]) for row in table(tmp_path)] == [
        (os.path.abspath("x.png"), "refused", "is empty; copy it again", ""),
        (os.path.abspath("y.dcm"), "skipped", "is not an image (a report); passed over", ""),
        (os.path.abspath("z.dcm"), "note", "has a bad UID; the image is used", ""),
    ]


# names


@pytest.mark.parametrize("calls", [1, 2], ids=["one call", "two calls"])
@pytest.mark.parametrize("other", ["b/x.png", "b/X.png"], ids=["same", "another case"])
def test_masks_of_one_name_are_told_apart(tmp_path: Path, calls: int, other: str) -> None:
    folder = ResultFolder(tmp_path)
    folder.write(result("a/x.png", FULL))
    if calls == 2:
        folder = ResultFolder(tmp_path)
    folder.write(result(other, EMPTY))
    assert [row["mask"] for row in table(tmp_path)] == ["x_mask.png", f"{Path(other).stem}_2_mask.png"]
    assert pixels(tmp_path / "x_mask.png").all()


def test_the_same_input_again_replaces_its_own_mask(tmp_path: Path) -> None:
    for mask in (FULL, EMPTY):
        folder = ResultFolder(tmp_path)
        for source in ("a/x.png", "b/x.png"):
            folder.write(result(source, mask))
    assert files(tmp_path) == ["results.csv", "x_2_mask.png", "x_mask.png"]
    assert [(row["input"], row["foreground"]) for row in table(tmp_path)] == [
        (os.path.abspath(source), "0") for source in ("a/x.png", "b/x.png")
    ]
    assert not pixels(tmp_path / "x_2_mask.png").any()


def test_to_replace_a_row_of_many_that_row_alone_is_put_into_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, encoded, own = [f"{number}.png" for number in range(20)], list[int](), result_table.as_csv

    def as_csv(rows: Iterable[Mapping[str, object]], *more: Any, **named: Any) -> str:
        every = list(rows)
        encoded.append(len(every))
        return own(every, *more, **named)

    for mask in (FULL, EMPTY):
        folder = ResultFolder(tmp_path)
        for number, source in enumerate(sources):
            folder.write(result(source, mask))
            if mask is EMPTY and number == 0:
                monkeypatch.setattr(result_table, "as_csv", as_csv)
    assert sum(encoded) == len(sources) - 1
    assert [(Path(row["input"]).name, row["foreground"]) for row in table(tmp_path)] == [(one, "0") for one in sources]


def test_a_file_that_is_in_no_table_is_never_overwritten(tmp_path: Path) -> None:
    """`segment photos --out photos`, where somebody's own X_mask.png lies beside X.png."""
    (tmp_path / "x_mask.png").write_bytes(b"the reference")
    (tmp_path / "y_overlay.png").write_bytes(b"a picture")
    folder = ResultFolder(tmp_path)
    assert folder.write(result(tmp_path / "x.png"))[0].name == "x_2_mask.png"
    assert folder.write(result(tmp_path / "y.png"))[0].name == "y_2_mask.png"
    assert (tmp_path / "x_mask.png").read_bytes() == b"the reference"


def test_an_overlay_of_an_earlier_mask_does_not_stay(tmp_path: Path) -> None:
    Image.fromarray(FULL).save(tmp_path / "x.png")
    source = result(tmp_path / "x.png")
    ResultFolder(tmp_path / "out", options=OutputOptions(overlay=True, probability=True)).write(source)
    assert files(tmp_path / "out") == ["results.csv", "x_mask.png", "x_overlay.png", "x_probability.png"]
    ResultFolder(tmp_path / "out").write(source)
    assert files(tmp_path / "out") == ["results.csv", "x_mask.png"]


def test_series_of_one_folder_and_frames_of_one_file_have_rows_of_their_own(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path)
    for frame in (0, 1):
        folder.write(result("cine.dcm", name=f"cine_frame_{frame + 1}", item=Item.of("cine.dcm", slice=frame)))
    for uid in ("1.2.3", "1.2.4"):
        folder.write(result("ct", item=Item.of("ct", series=uid)))
    assert [(row["mask"], row["series"], row["frame"]) for row in table(tmp_path)] == [
        ("cine_frame_1_mask.png", "", "1"),
        ("cine_frame_2_mask.png", "", "2"),
        ("ct_mask.png", "1.2.3", ""),
        ("ct_2_mask.png", "1.2.4", ""),
    ]


def test_a_series_uid_that_is_none_is_never_written(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path)
    for uid in ("../../x", "=cmd()"):
        folder.write(result("ct", item=Item.of("ct", series=uid)))
    assert len({row["series"] for row in table(tmp_path)}) == 2
    assert all(row["series"].startswith("no UID, SHA-256 ") for row in table(tmp_path))


LONG = "ä" * 127  # 254 bytes


@pytest.mark.parametrize(
    "name",
    [LONG, "line\nbreak", "\x1b[31mred", os.fsdecode(b"\xff\xfe"), "\u202egnp"],
    ids=["long", "newline", "escape", "no UTF-8", "bidi"],
)
def test_odd_names_become_sound_ones_and_stay_different(tmp_path: Path, name: str) -> None:
    folder = ResultFolder(tmp_path, options=OutputOptions(probability=True))
    for one in (name, f"{name[:-1]}b"):
        folder.write(result(f"{one[-20:]}.png", name=f"sub/{one}"))
    masks = [row["mask"] for row in table(tmp_path)]
    assert len(set(masks)) == 2
    for mask in masks:
        assert (tmp_path / mask).is_file()
        assert mask.isprintable()
        assert len(Path(mask).name.encode()) <= 255


@pytest.mark.parametrize("name", ["a b", "Lésion 1", "sub/x.y", r"back\slash", "photo [1]", "家"])
def test_other_names_stay_as_they_are(name: str) -> None:
    assert sound_name(name) == name


def test_a_path_that_no_file_can_have_is_refused_by_name_and_the_rest_goes_on(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path)
    with pytest.raises(InputError, match="cannot be named") as refused:
        folder.write(result("deep.png", name="/".join(["d" * 250] * 20)))
    folder.refuse(refused.value)
    folder.write(result("x.png"))
    assert [row["status"] for row in table(tmp_path)] == ["refused", "segmented"]


# the table


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "'", "'="])
def test_no_cell_is_a_formula_and_the_same_input_is_known_again(tmp_path: Path, start: str) -> None:
    name = f"{start}cmd()"
    for mask in (FULL, EMPTY):
        ResultFolder(tmp_path).write(result(f"{name}.png", mask))
    (row,) = table(tmp_path)
    assert row["mask"] == f"'{name}_mask.png"
    assert row["foreground"] == "0"


def test_what_was_refused_earlier_is_judged_anew(tmp_path: Path) -> None:
    ResultFolder(tmp_path).refuse(InputError("x.png", "is empty", "copy it again"))
    folder = ResultFolder(tmp_path)
    folder.write(result("x.png"))
    assert [row["status"] for row in table(tmp_path)] == ["segmented"]


def test_a_mask_stays_listed_when_its_input_can_no_longer_be_read(tmp_path: Path) -> None:
    ResultFolder(tmp_path).write(result("x.png"))
    ResultFolder(tmp_path).refuse(InputError("x.png", "does not exist", "check the path"))
    assert [row["status"] for row in table(tmp_path)] == ["segmented", "refused"]


def test_a_row_cut_by_a_power_failure_is_not_believed(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path)
    for name in ("a", "b"):
        folder.write(result(f"{name}.png"))
    whole = (tmp_path / "results.csv").read_bytes()
    (tmp_path / "results.csv").write_bytes(whole[:-40])
    ResultFolder(tmp_path).write(result("c.png"))
    assert [row["mask"] for row in table(tmp_path)] == ["a_mask.png", "c_mask.png"]


def test_a_row_cut_within_its_last_cell_is_not_believed(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path, {"delineate": "0.1.0"})
    for name in ("a", "b"):
        folder.write(result(f"{name}.png"))
    whole = (tmp_path / "results.csv").read_bytes()
    (tmp_path / "results.csv").write_bytes(whole[:-2])
    ResultFolder(tmp_path).write(result("c.png"))
    assert [row["mask"] for row in table(tmp_path)] == ["a_mask.png", "c_mask.png"]


@pytest.mark.parametrize("content", [b"patient;mask\n1;2\n", b"\xff\xfe\x00", b"", b'"'], ids=repr)
def test_a_table_of_another_kind_is_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "results.csv").write_bytes(content)
    with pytest.raises(DelineateError, match="no table of results as Delineate writes it"):
        ResultFolder(tmp_path)
    assert files(tmp_path) == ["results.csv"]
    assert (tmp_path / "results.csv").read_bytes() == content


def test_columns_of_another_version_are_kept(tmp_path: Path) -> None:
    text = ",".join([*COLUMNS, "later"]) + "\n" + ",".join(["in", *COLUMNS[1:], "more"]) + "\n"
    (tmp_path / "results.csv").write_text(text, encoding="utf-8-sig")
    ResultFolder(tmp_path).write(result("x.png"))
    assert [row["later"] for row in table(tmp_path)] == ["more", ""]


def _write_many(folder: Path, who: str) -> None:
    writer = ResultFolder(folder)
    for number in range(15):
        writer.write(result(f"{who}/{number}.png"))


def test_several_processes_write_into_one_folder(tmp_path: Path) -> None:
    processes = [get_context("fork").Process(target=_write_many, args=(tmp_path, who)) for who in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    masks = [row["mask"] for row in table(tmp_path)]
    assert len(set(masks)) == len(masks) == 30
    assert files(tmp_path) == sorted([*masks, "results.csv"])


# several structures

HEART = np.array([[1, 1, 0, 0, 0, 0]] * 4, np.uint8)
CHEST = {"heart": HEART, "left lung": 1 - HEART}
LABELS = OutputOptions(label_map=True)


def chest(source: Path | str, masks: dict[str, np.ndarray] | None = None) -> Segmentation:
    return several(source, CHEST if masks is None else masks)


def test_each_structure_has_a_row_a_mask_and_its_own_threshold(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path, thresholds={"heart": 0.3, "left lung": 0.5})
    assert [path.name for path in folder.write(chest("a.png"))] == ["a_heart_mask.png", "a_left_lung_mask.png"]
    told = [
        (row["structure"], row["mask"], row["foreground"], row["threshold"], row["value"]) for row in table(tmp_path)
    ]
    assert told == [
        ("heart", "a_heart_mask.png", "8", "0.3", "255"),
        ("left lung", "a_left_lung_mask.png", "16", "0.5", "255"),
    ]
    assert np.array_equal(pixels(tmp_path / "a_left_lung_mask.png"), (1 - HEART) * 255)


def test_a_refusal_names_all_thresholds(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path, thresholds={"heart": 0.3, "left lung": 0.5})
    folder.refuse(InputError("a.png", "is empty", "copy it again"))
    assert table(tmp_path)[0]["threshold"] == "heart 0.3; left lung 0.5"


def test_a_label_map_is_one_file_whose_values_stand_in_the_table(tmp_path: Path) -> None:
    (path,) = ResultFolder(tmp_path, options=LABELS).write(chest("a.png"))
    assert files(tmp_path) == ["a_labels.png", "results.csv"]
    assert np.array_equal(pixels(path), 2 - HEART)
    assert [(row["structure"], row["value"], row["mask"]) for row in table(tmp_path)] == [
        ("heart", "1", "a_labels.png"),
        ("left lung", "2", "a_labels.png"),
    ]


def test_what_overlaps_makes_no_label_map_and_leaves_no_file(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path, options=OutputOptions(overlay=True, label_map=True))
    with pytest.raises(InputError, match="its left lung shares 8 pixels with heart"):
        folder.write(chest("a.png", {"heart": HEART, "left lung": FULL}))
    assert files(tmp_path) == []


@pytest.mark.parametrize("options", [OutputOptions(), LABELS], ids=["masks", "label map"])
def test_the_same_input_again_replaces_its_files_whatever_its_structures(
    tmp_path: Path, options: OutputOptions
) -> None:
    def again(*results: Segmentation) -> list[str]:
        for one in results:
            ResultFolder(tmp_path, options=options).write(one)
        return [row["input"] for row in table(tmp_path)]

    assert len(again(result("a.png"), chest("a.png"))) == 2
    assert len(again(chest("a.png", {"aorta": FULL, "spine": EMPTY, "skin": EMPTY}))) == 3
    assert len(files(tmp_path)) == (2 if options.label_map else 4)
    again(result("a.png"))
    assert files(tmp_path) == sorted(["results.csv", "a_labels.png" if options.label_map else "a_mask.png"])


def test_a_label_map_takes_the_place_of_masks_and_back(tmp_path: Path) -> None:
    for options in (None, LABELS, None):
        ResultFolder(tmp_path, options=options).write(chest("a.png"))
    assert files(tmp_path) == ["a_heart_mask.png", "a_left_lung_mask.png", "results.csv"]


CLASHES = {
    "a structure's file": (chest("x/a.png"), result("x/a_left_lung.png")),
    "the other way": (result("x/a_left_lung.png"), chest("x/a.png")),
    "structures": (
        several("x/a.png", {"b c": FULL, "c": FULL}),
        several("x/a_b.png", {"c": EMPTY, "b c": EMPTY}),
    ),
    "one name": (chest("x/a.png"), chest("y/A.png")),
}


@pytest.mark.parametrize("case", CLASHES)
def test_no_file_of_one_result_is_that_of_another(tmp_path: Path, case: str) -> None:
    folder = ResultFolder(tmp_path)
    before = {path: path.read_bytes() for path in folder.write(CLASHES[case][0])}
    written = folder.write(CLASHES[case][1])
    assert not set(before) & set(written)
    assert before == {path: path.read_bytes() for path in before}
    for one, paths in zip(CLASHES[case], (list(before), written), strict=True):  # each its own again, and no other's
        assert ResultFolder(tmp_path).write(one) == paths


def test_a_file_of_somebody_elses_is_not_overwritten_when_more_is_asked_for(tmp_path: Path) -> None:
    Image.fromarray(FULL).save(tmp_path / "a.png")
    ResultFolder(tmp_path).write(chest(tmp_path / "a.png"))
    (tmp_path / "a_heart_probability.png").write_bytes(b"mine")
    ResultFolder(tmp_path, options=OutputOptions(probability=True)).write(chest(tmp_path / "a.png"))
    assert (tmp_path / "a_heart_probability.png").read_bytes() == b"mine"
    assert [row["mask"] for row in table(tmp_path)] == ["a_2_heart_mask.png", "a_2_left_lung_mask.png"]


def test_a_table_of_before_there_were_structures_goes_on(tmp_path: Path) -> None:
    columns = [name for name in COLUMNS if name not in ("structure", "value")]
    old = dict.fromkeys(columns, "") | {"input": os.path.abspath("a.png"), "status": "segmented", "mask": "a_mask.png"}
    lines = [",".join(columns), ",".join(old[name] for name in columns)]
    (tmp_path / "results.csv").write_text("\n".join([*lines, ""]), encoding="utf-8-sig")
    (tmp_path / "a_mask.png").touch()
    ResultFolder(tmp_path).write(result("b/a.png"))
    assert [row["mask"] for row in table(tmp_path)] == ["a_mask.png", "a_2_mask.png"]
    ResultFolder(tmp_path).write(chest("a.png"))
    assert [row["mask"] for row in table(tmp_path)] == ["a_2_mask.png", "a_heart_mask.png", "a_left_lung_mask.png"]
    assert not (tmp_path / "a_mask.png").exists()


def test_own_files_of_structures_are_passed_over(tmp_path: Path) -> None:
    Image.fromarray(FULL).save(tmp_path / "a.png")
    options = OutputOptions(overlay=True, probability=True)
    ResultFolder(tmp_path, options=options).write(chest(tmp_path / "a.png"))
    assert len(files(tmp_path)) == 7
    assert [item["name"] for item in find_images(tmp_path, lambda _: None)] == ["a"]


def test_a_structure_with_a_long_name_leaves_room_for_its_files(tmp_path: Path) -> None:
    masks = {"l" * 60: FULL, "r" * 60: FULL}
    for path in ResultFolder(tmp_path).write(chest(f"{'n' * 230}.png", masks)):
        assert path.is_file()


# folders that cannot be written


def test_leftovers_of_a_killed_process_are_tidied(tmp_path: Path) -> None:
    left = tmp_path / "sub" / f".{'0' * 32}.tmp"
    left.parent.mkdir()
    left.touch()
    (tmp_path / ".mine.tmp").touch()
    ResultFolder(tmp_path)
    assert files(tmp_path) == [".mine.tmp"]


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(DelineateError, match="results cannot be written there"):
        ResultFolder(tmp_path / "out")


def test_a_folder_that_cannot_be_made_is_not_said_to_be_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(2, os.strerror(2))

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(DelineateError, match=r"No such file or directory\); choose another --out$"):
        ResultFolder(tmp_path / "out")


Full = Callable[..., object]


def full(*_: object, **__: object) -> None:
    raise OSError(28, os.strerror(28))


@pytest.mark.parametrize("when", ["write_outputs", "ResultTable.put"])
def test_on_a_full_disk_what_was_done_stays_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    folder = ResultFolder(tmp_path)
    folder.write(result("a.png"))
    monkeypatch.setattr(f"{results.__name__}.{when}", full)
    with pytest.raises(DelineateError, match="No space left on device"):
        folder.write(result("b.png"))
    assert [row["mask"] for row in table(tmp_path)] == ["a_mask.png"]


def test_objects_and_tables_name_the_members_of_an_ensemble_and_the_views(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    members = [{"name": name, "hash": name * 64} for name in "ab"]
    (tmp_path / "configs" / "metadata.json").write_text(json.dumps({"name": "Two", "members": members}))
    facts = facts_of(tmp_path, "flips")
    assert (facts["members"], facts["tta"]) == ("a" * 64 + "; " + "b" * 64, "flips")
    assert model_of(tmp_path, {"nerve": 0.5}, "flips").parameters() == {
        "threshold nerve": "0.5",
        "test-time augmentation": "flips",
        "member 1 SHA-256": "a" * 64,
        "member 2 SHA-256": "b" * 64,
    }


def test_a_network_alone_has_no_members_and_no_views(tmp_path: Path) -> None:
    assert (facts_of(tmp_path)["members"], facts_of(tmp_path)["tta"]) == ("", "")
    assert model_of(tmp_path, {"": 0.5}).parameters() == {"threshold": "0.5"}
