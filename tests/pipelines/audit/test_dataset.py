from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from delineate.pipelines.audit.accept import accept, read_accepted
from delineate.pipelines.audit.dataset import audit_dataset
from delineate.pipelines.audit.findings import Finding
from delineate.pipelines.audit.pairs import quick_leaks
from delineate.pipelines.core.errors import DelineateError, InputError, UnknownNameError

from .conftest import Make, disc, picture


def item(seed: int, part: str = "training", mask: np.ndarray | None = None, **fields: Any) -> Any:
    return part, picture(seed), disc() if mask is None else mask, fields


def found(folder: Path, kind: str) -> list[Finding]:
    return [one for one in audit_dataset(folder).findings if one.kind == kind]


# Pairs


def test_different_images_with_plain_masks_give_no_problem(make: Make) -> None:
    assert audit_dataset(make(a=item(1), b=item(2, "test"))).problems == []


def test_a_mirrored_copy_with_a_mirrored_mask_is_a_near_duplicate_and_no_contradiction(make: Make) -> None:
    folder = make(a=item(1), b=("training", picture(1)[:, ::-1], disc()[:, ::-1], {}))
    (finding,) = audit_dataset(folder).problems
    assert (finding.kind, finding.severity) == ("near_duplicate", "problem")
    assert set(finding.items) == {"a_image.png", "b_image.png"}
    assert "mirrored left to right" in finding.detail


def test_a_mirrored_copy_with_a_mask_left_as_it_was_is_a_contradiction(make: Make) -> None:
    folder = make(a=item(1), b=("training", picture(1)[:, ::-1], disc(), {}))
    (finding,) = found(folder, "contradiction")
    overlap = (disc() & disc()[:, ::-1]).astype(bool).sum() / (disc() | disc()[:, ::-1]).astype(bool).sum()
    assert float(re.findall(r"IoU of (0\.\d{3})\b", finding.detail)[0]) == pytest.approx(overlap, abs=0.03)


def test_a_mask_that_nobody_changed_since_delineate_drew_it_is_noted(make: Make) -> None:
    (finding,) = found(make(a=item(1, draft=True), b=item(2)), "mask")
    assert (finding.items, finding.severity) == (("a_image.png",), "note")
    assert finding.detail == "as Delineate drew it, changed by nobody"


def test_equal_images_of_two_classes_contradict_each_other(make: Make) -> None:
    folder = make(a=item(1, **{"class": "benign"}), b=item(1, **{"class": "malignant"}))
    (finding,) = found(folder, "contradiction")
    assert finding.detail == "classes benign and malignant; equal pixels"


def test_equal_images_with_equal_masks_are_an_exact_duplicate_alone(make: Make) -> None:
    assert [one.kind for one in audit_dataset(make(a=item(1), b=item(1))).findings] == ["exact_duplicate"]


# Leaks


@pytest.mark.parametrize(
    ("sides", "leaks"),
    [
        (("training", "test"), 1),
        (("training", "validation"), 1),
        (("training", "training"), 0),
        (("training", "unlabelled"), 0),
        (("unlabelled", "test"), 0),
    ],
)
def test_a_picture_on_two_sides_is_a_leak(make: Make, sides: tuple[str, str], leaks: int) -> None:
    folder = make(a=item(1), b=item(1), c=item(2))
    datalist = json.loads((folder / "datalist.json").read_text())
    first, second, other = datalist.pop("training")
    datalist |= {"training": [other], "unlabelled": []}
    for entry, side in zip((first, second), sides, strict=True):
        datalist[side].append(entry)
    (folder / "datalist.json").write_text(json.dumps(datalist))
    assert len(found(folder, "leak")) == leaks
    assert len(quick_leaks(folder)) == leaks


def test_a_group_in_training_and_test_is_a_leak_with_its_numbers(make: Make) -> None:
    folder = make(a=item(1, group="p"), b=item(2, group="p"), c=item(3, "test", group="p"))
    (leak,) = quick_leaks(folder)
    assert leak.detail == "group p is in training (2) and test (1)"


def test_a_group_in_two_folds_is_a_leak(make: Make) -> None:
    assert len(quick_leaks(make(a=item(1, group="p", fold=0), b=item(2, group="p", fold=1)))) == 1


def test_the_quick_form_gives_equal_images_the_ids_of_the_audit(make: Make) -> None:
    folder = make(a=item(1), b=item(1, "test"), c=item(2, group="p"), d=item(3, "test", group="p"))
    assert {one.id for one in quick_leaks(folder)} == {one.id for one in found(folder, "leak")}


def test_the_quick_form_knows_near_duplicates_from_an_audit_whatever_was_added_since(make: Make) -> None:
    items = {"a": item(1), "b": ("test", picture(1)[::-1], disc()[::-1], {})}
    folder = make(**items)
    assert quick_leaks(folder) == []
    audit_dataset(folder)
    assert len(quick_leaks(folder)) == 1
    make(**items, c=item(3))
    assert len(quick_leaks(folder)) == 1


def next_frame(seed: int) -> np.ndarray:
    """Much as the picture, but not the same: a part of its noise is another's."""
    return np.rint(0.67 * picture(seed) + 0.33 * picture(seed + 100)).astype(np.uint8)


@pytest.mark.parametrize(("subjects", "kind"), [(("s", "s"), "similar_frame"), (("s", "t"), "near_duplicate")])
def test_alike_frames_of_one_subject_are_a_note_and_no_contradiction(
    make: Make, subjects: tuple[str, str], kind: str
) -> None:
    fields = [{"group": "joined", "own_group": subject} for subject in subjects]
    frames = {"a": item(1, **fields[0]), "b": ("training", next_frame(1), disc(90, 100), fields[1])}
    findings = audit_dataset(make(**frames)).findings
    assert {one.kind for one in findings} == ({kind} if kind == "similar_frame" else {kind, "contradiction"})


def test_nearly_equal_frames_of_one_subject_may_contradict_each_other(make: Make) -> None:
    other = ("training", picture(1)[:, ::-1], disc(), {"group": "s", "own_group": "s"})
    kinds = {one.kind for one in audit_dataset(make(a=item(1, group="s", own_group="s"), b=other)).problems}
    assert kinds == {"near_duplicate", "contradiction"}


# Files that cannot be used


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(make: Make) -> None:
    folder = make(a=item(1), b=item(2), c=item(3), d=item(4), e=item(4))
    (folder / "a_image.png").write_bytes(b"no image")
    Image.fromarray(disc()[:50]).save(folder / "b_label.png")
    Image.fromarray(np.where(disc() > 0, 17, 3).astype(np.uint8)).save(folder / "c_label.png")
    problems = {one.items[0][0]: one for one in audit_dataset(folder).problems}
    assert problems["a"].kind == "image"
    assert problems["b"].detail == "mask is 160x50, image is 160x120"
    assert "grey values (3, 17)" in problems["c"].detail
    assert problems["d"].kind == "exact_duplicate"


def test_an_item_without_a_mask_is_in_order(make: Make) -> None:
    folder = make(a=item(1), b=item(2))
    datalist = json.loads((folder / "datalist.json").read_text())
    for entry in datalist["training"]:
        del entry["label"], entry["label_sha256"]
    (folder / "datalist.json").write_text(json.dumps(datalist))
    assert audit_dataset(folder).findings == []


# Names of findings, and accepting them


def test_ids_stay_when_the_folder_moves_and_images_are_added(make: Make, tmp_path: Path) -> None:
    items = {"a": item(1), "b": item(1, "test"), "c": item(2, mask=disc(radius=70))}
    first = {one.id for one in audit_dataset(make(**items)).findings}
    make(**items, d=item(7), e=item(8, "test"))
    moved = shutil.move(tmp_path / "data", tmp_path / "elsewhere")
    assert first
    assert first <= {one.id for one in audit_dataset(moved).findings}


def test_a_contradiction_is_another_when_a_mask_was_redrawn(make: Make) -> None:
    before, after = (
        found(make(a=item(1), b=item(1, mask=disc(radius=radius))), "contradiction") for radius in (10, 15)
    )
    assert before[0].id != after[0].id


def test_accepted_findings_are_no_problems_and_no_quick_leaks(make: Make) -> None:
    folder = make(a=item(1), b=item(1, "test"))
    ids = [one.id for one in audit_dataset(folder).problems]
    accept(folder, ids, "looked at")
    audit = audit_dataset(folder)
    assert (audit.problems, audit.stale) == ([], [])
    assert audit.accepted == dict.fromkeys(ids, "looked at")
    assert quick_leaks(folder) == []


def test_an_accepted_id_that_is_no_longer_found_is_stale(make: Make) -> None:
    folder = make(a=item(1))
    (folder / "accepted.yaml").write_text("leak-0123456789: gone  # since March\n")
    assert audit_dataset(folder).stale == ["leak-0123456789"]


def test_all_problems_of_a_kind_are_accepted_by_its_name(make: Make) -> None:
    folder = make(a=item(1), b=item(1), c=item(2), d=item(2))
    assert len(audit_dataset(folder).problems) == 2
    accept(folder, ["exact_duplicate"], "looked at")
    assert audit_dataset(folder).problems == []


@pytest.mark.parametrize("name", ["exact_duplicate-0123456789", "leak"])
def test_what_the_last_audit_did_not_find_cannot_be_accepted(make: Make, name: str) -> None:
    folder = make(a=item(1), b=item(1))
    audit_dataset(folder)
    with pytest.raises(UnknownNameError):
        accept(folder, [name], "looked at")
    assert not (folder / "accepted.yaml").exists()


def test_accepting_keeps_comments(tmp_path: Path) -> None:
    (tmp_path / "accepted.yaml").write_text("# By hand.\nleak-1: old  # since March\n")
    text = accept(tmp_path, ["leak-2"], "new").read_text()
    assert text == "# By hand.\nleak-1: old  # since March\nleak-2: new\n"
    assert read_accepted(tmp_path) == {"leak-1": "old", "leak-2": "new"}


@pytest.mark.parametrize("text", ["- leak-1\n", "leak-1:\n", "leak-1: 3\n", "a: [\n", "just words\n"])
def test_an_accepted_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "accepted.yaml").write_text(text)
    with pytest.raises(InputError, match="ID: reason"):
        read_accepted(tmp_path)


# What is written


def test_the_json_holds_every_finding_and_the_hash(make: Make) -> None:
    folder = make(a=item(1), b=item(1, "test"))
    audit = audit_dataset(folder)
    written = json.loads((folder / "audit.json").read_text())
    assert written["dataset_hash"] == audit.dataset_hash
    assert [one["id"] for one in written["findings"]] == [one.id for one in audit.findings]
    assert written["counts"]["leak"] == {"problems": 1, "accepted": 0, "notes": 0}


def test_the_page_needs_nothing_beside_it_and_escapes_names(make: Make) -> None:
    folder = make(a=item(1, **{"class": "<b>x"}), b=item(1, **{"class": "y&z"}))
    audit_dataset(folder)
    page = (folder / "audit.html").read_text()
    assert "&lt;b&gt;x and y&amp;z" in page
    assert not re.search(r"<script|https?://|<b>x", page)
    assert page.count("data:image/jpeg;base64,") == 4


def test_the_page_says_what_it_leaves_out(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("delineate.pipelines.audit.page.SHOWN", 1)
    folder = make(a=item(1), b=item(1), c=item(1))
    audit_dataset(folder)
    assert "2 more are not shown" in (folder / "audit.html").read_text()


def test_out_takes_the_files_elsewhere(make: Make, tmp_path: Path) -> None:
    folder = make(a=item(1))
    audit_dataset(folder, out=tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["audit.html", "audit.json"]
    assert not (folder / "audit.json").exists()


def test_a_folder_without_data_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match="index the images first"):
        audit_dataset(tmp_path)


# Files


@pytest.mark.parametrize(("key", "kind"), [("image", "image"), ("label", "mask")])
def test_a_file_that_changed_since_it_was_indexed_is_a_problem(make: Make, key: str, kind: str) -> None:
    folder = make(a=item(1), b=item(2))
    path = folder / f"b_{key}.png"
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    (finding,) = audit_dataset(folder).problems
    assert (finding.kind, finding.items) == (kind, ("b_image.png",))
    assert "changed since it was indexed; index again" in finding.detail


def test_the_audit_of_another_data_set_is_not_replaced(make: Make) -> None:
    other, folder = make("other", a=item(1)), make(a=item(1))
    with pytest.raises(InputError, match="is the folder of another data set"):
        audit_dataset(folder, out=other)
    assert not (other / "audit.json").exists()


def test_the_page_names_the_command_that_accepts_a_finding(make: Make) -> None:
    folder = make(a=item(1), b=item(1))
    audit_dataset(folder)
    assert "delineate data audit DATASET --accept ID --reason" in (folder / "audit.html").read_text()
