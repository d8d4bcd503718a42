from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from data_lists import placed, read_datalist
from PIL import Image, ImageOps

from delineate.pipelines.audit.accept import accept
from delineate.pipelines.audit.before_training import refuse_leaks
from delineate.pipelines.audit.dataset import audit_dataset
from delineate.pipelines.audit.pairs import quick_leaks
from delineate.pipelines.core.errors import DelineateError, InputError
from delineate.pipelines.datasets.index import index_dataset
from delineate.pipelines.datasets.splitting.resplit import split_dataset
from delineate.pipelines.datasets.splitting.splits import Plan
from delineate.pipelines.phantoms.images import write_phantoms


def entry(name: str, **fields: Any) -> dict[str, Any]:
    hashes = {"image_sha256": f"sha of {name}", "label_sha256": f"sha of {name}'s mask"}
    return {"image": f"{name}.png", "label": f"{name}_mask.png", "group": name, **hashes, **fields}


def write(folder: Path, **splits: Any) -> Path:
    lists: dict[str, Any] = {"training": [], "validation": [], "test": []}
    (folder / "datalist.json").write_text(json.dumps(lists | splits))
    return folder


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return write(tmp_path, training=[entry("a"), entry("b")], validation=[entry("c")], test=[entry("d")])


@pytest.fixture
def leaking(tmp_path: Path) -> Path:
    """Patient 1 is on both sides."""
    sides = {side: [entry(side, group="patient 1")] for side in ("training", "test")}
    return write(tmp_path, **sides, validation=[entry("c")])


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "delineate")
    return caplog


def test_a_sound_data_set_passes(sound: Path) -> None:
    refuse_leaks(sound)


def test_a_folder_without_a_data_list_is_left_to_its_reader(tmp_path: Path) -> None:
    refuse_leaks(tmp_path)


def test_two_series_in_one_folder_are_two_images(tmp_path: Path) -> None:
    """A flat export holds several patients' series: they share the folder, and so its hash."""
    folder = {"image": "export", "image_sha256": "of the folder", "slice": 0}
    series = [entry(f"patient {n}", **folder, series=f"1.2.{n}") for n in range(3)]
    refuse_leaks(write(tmp_path, training=series[:1], validation=series[1:2], test=series[2:]))


def test_a_recorded_duplicate_that_was_moved_apart_is_a_leak(tmp_path: Path) -> None:
    lists = {"training": [entry("a"), entry("c")], "validation": [entry("b")], "test": [entry("d")]}
    refuse_leaks(write(tmp_path, **lists, duplicates=[{"items": ["a.png", "c.png"], "exact": False}]))
    with pytest.raises(DelineateError, match="alike"):
        refuse_leaks(write(tmp_path, **lists, duplicates=[{"items": ["a.png", "b.png"], "exact": False}]))


def test_equal_pixels_leak_wherever_they_lie_in_their_files(tmp_path: Path) -> None:
    copies = [entry(name, slice=number, pixels_sha256="same") for number, name in enumerate("ab")]
    with pytest.raises(DelineateError, match="equal pixels"):
        refuse_leaks(write(tmp_path, training=copies[:1], validation=[entry("c")], test=copies[1:]))


def test_a_leak_is_refused_with_what_to_do(leaking: Path, said: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DelineateError) as error:
        refuse_leaks(leaking)
    assert str(error.value).startswith(f"{leaking} leaks: group patient 1 is in training (1) and test (1) (1 in all")
    assert f"delineate data split {leaking} --out NEW" in str(error.value)
    assert "--allow-leaks" in str(error.value)
    assert said.messages[-1] == "leak: group patient 1 is in training (1) and test (1): training.png, test.png"


def test_an_allowed_leak_is_logged(leaking: Path, said: pytest.LogCaptureFixture) -> None:
    refuse_leaks(leaking, allow_leaks=True)
    assert [record.levelname for record in said.records if record.message.startswith("leak: ")] == ["WARNING"]


@pytest.mark.parametrize(
    "shared",
    [{"group": "patient 1"}, {"image_sha256": "one"}, {"pixels_sha256": "one"}, {"image_sha256": ["one", "two"]}],
)
@pytest.mark.parametrize("places", [("training", "validation"), ("validation", "test"), ("training", "test")])
def test_what_stands_on_two_sides_leaks(tmp_path: Path, shared: dict[str, Any], places: tuple[str, str]) -> None:
    write(tmp_path, **{place: [entry(place, **shared)] for place in places})
    with pytest.raises(DelineateError, match="leaks: "):
        refuse_leaks(tmp_path)


def test_what_stands_in_two_folds_leaks(tmp_path: Path) -> None:
    for folds in ((0, 0), (0, 1)):
        write(tmp_path, training=[entry(f"{n}", group="patient 1", fold=fold) for n, fold in enumerate(folds)])
        if folds == (0, 0):
            refuse_leaks(tmp_path)
    with pytest.raises(DelineateError, match="training, fold 0"):
        refuse_leaks(tmp_path)


def test_a_duplicate_on_one_side_is_no_leak(tmp_path: Path) -> None:
    refuse_leaks(write(tmp_path, training=[entry("a", pixels_sha256="one"), entry("b", pixels_sha256="one")]))


def test_an_unlabelled_image_is_on_no_side(tmp_path: Path) -> None:
    refuse_leaks(write(tmp_path, **{place: [entry(place, group="patient 1")] for place in ("unlabelled", "test")}))


def test_slices_of_one_volume_leak(tmp_path: Path) -> None:
    slices = [entry("ct", slice=index) for index in range(2)]
    with pytest.raises(DelineateError, match="group ct is in training"):
        refuse_leaks(write(tmp_path, training=slices[:1], test=slices[1:]))


def test_an_accepted_leak_passes(leaking: Path) -> None:
    accept(leaking, [leak.id for leak in quick_leaks(leaking)], "two patients of one number")
    refuse_leaks(leaking)


def test_acceptance_that_cannot_be_read_is_refused(leaking: Path) -> None:
    (leaking / "accepted.yaml").write_text("- leak")
    with pytest.raises(InputError, match=r"accepted\.yaml: is no mapping"):
        refuse_leaks(leaking, allow_leaks=True)


# the last audit


def test_a_data_set_that_was_never_audited_is_told(sound: Path, said: pytest.LogCaptureFixture) -> None:
    refuse_leaks(sound)
    assert said.messages == [
        f"{sound} has not been audited since it was indexed; to look for duplicates and leaks: "
        f"delineate data audit {sound}"
    ]


def test_of_a_folds_data_set_nothing_is_told_as_the_divided_one_is_audited(
    sound: Path, said: pytest.LogCaptureFixture
) -> None:
    change(sound / "datalist.json", cross_validation={"fold": 0, "folds": 2, "seed": 0})
    refuse_leaks(sound)
    assert said.messages == []


@pytest.fixture
def audited(tmp_path: Path) -> Path:
    write_phantoms(tmp_path / "phantoms", 4)
    index_dataset(tmp_path / "phantoms", out=tmp_path / "data", fractions=(0.5, 0.25, 0.25))
    audit_dataset(tmp_path / "data", lambda done, total: None, None)
    return tmp_path / "data"


def change(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_the_last_audit_is_told(audited: Path, said: pytest.LogCaptureFixture) -> None:
    refuse_leaks(audited)
    counts = {kind: {"problems": number} for kind, number in (("mask", 2), ("image", 0), ("contradiction", 1))}
    change(audited / "audit.json", counts=counts)
    refuse_leaks(audited)
    assert said.messages[-2:] == [
        f"audit of {audited}: {told}; see audit.html" for told in ("no open problems", "mask 2, contradiction 1")
    ]


@pytest.mark.parametrize("text", ["{}", "no JSON"])
def test_an_audit_of_other_data_is_passed_over(audited: Path, said: pytest.LogCaptureFixture, text: str) -> None:
    (audited / "audit.json").write_text(text)
    refuse_leaks(audited)
    assert "has not been audited since it was indexed" in said.messages[-1]


@pytest.mark.parametrize("options", [{}, {"folds": 3}])
def test_the_advised_split_mends_what_the_audit_found(tmp_path: Path, options: dict[str, Any]) -> None:
    """The whole way: a data list that does not know of near duplicates, an audit, a refusal, the advice, a training."""
    write_phantoms(tmp_path / "phantoms", 6)
    for folder in ("images", "masks"):
        for path in sorted((tmp_path / "phantoms" / folder).iterdir())[:6]:
            turned = ImageOps.mirror(Image.open(path))
            turned.save(path.with_name(f"copy_of_{path.stem}{path.suffix}"))
    data, new = tmp_path / "data", tmp_path / "new"
    index_dataset(tmp_path / "phantoms", out=data, near_duplicates=False, **options)
    refuse_leaks(data)
    audit_dataset(data)
    with pytest.raises(DelineateError, match=r"Split it again: (delineate data split \S+ --out NEW[^;]*);") as error:
        refuse_leaks(data)
    assert ("--folds 3" in str(error.value)) == bool(options)
    split_dataset(data, new, Plan(**options))
    refuse_leaks(new)
    assert not [one for one in audit_dataset(new).findings if one.kind == "leak"]


def test_indexing_again_heeds_what_the_audit_found(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "phantoms", 6)
    for folder in ("images", "masks"):
        path = next((tmp_path / "phantoms" / folder).glob("phantom_0001.*"))
        ImageOps.mirror(Image.open(path)).save(path.with_name(f"copy{path.suffix}"))
    for _ in range(2):
        index_dataset(tmp_path / "phantoms", out=tmp_path / "data", near_duplicates=False)
        audit_dataset(tmp_path / "data")
    datalist = read_datalist(tmp_path / "data")
    groups = {Path(entry["image"]).stem: entry["group"] for _, entry in placed(datalist)}
    assert groups["copy"] == groups["phantom_0001"]
    refuse_leaks(tmp_path / "data")


def test_a_leak_that_only_the_audit_saw_is_refused(audited: Path) -> None:
    leak = {"id": "leak-1", "kind": "leak", "severity": "problem", "items": ["a.png", "b.png"], "detail": "look alike"}
    change(audited / "audit.json", findings=[leak, leak | {"id": "mask-1", "kind": "mask"}])
    with pytest.raises(DelineateError, match=r"leaks: look alike \(1 in all"):
        refuse_leaks(audited)
