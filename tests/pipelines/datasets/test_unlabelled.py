from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from delineate.pipelines.core.errors import InputError
from delineate.pipelines.datasets.datalist import Datalist, content
from delineate.pipelines.datasets.unlabelled import hash_of, unlabelled_for_training, without_label
from delineate.pipelines.imaging.item import Item


def entry(name: str, **more: Any) -> dict[str, Any]:
    return {"image": f"{name}.png", "group": name, "image_sha256": name, "pixels_sha256": f"p{name}", **more}


def labelled(name: str, **more: Any) -> dict[str, Any]:
    return entry(name, label=f"{name}_mask.png", label_sha256=name, area=0.5, **more)


def written(folder: Path, *unlabelled: dict[str, Any], **more: Any) -> Datalist:
    lists = {"training": [labelled("a")], "validation": [labelled("b")], "test": [labelled("c")]}
    (folder / "datalist.json").write_text(json.dumps({**lists, "unlabelled": list(unlabelled), **more}))
    return Datalist.read(folder)


def names(datalist: Datalist, fold: int | None = None) -> list[str]:
    kept, left_out = unlabelled_for_training(datalist, fold)
    assert len(kept) + left_out == len(datalist.part("unlabelled"))
    return [item.file.stem for item in kept]


def test_images_of_nobody_else_are_used(tmp_path: Path) -> None:
    assert names(written(tmp_path, entry("u"), entry("v"))) == ["u", "v"]


@pytest.mark.parametrize(("with_", "used"), [("a", ["u", "v"]), ("b", ["v"]), ("c", ["v"])])
@pytest.mark.parametrize("shared", ["group", "image_sha256", "pixels_sha256"])
def test_what_belongs_to_an_image_that_judges_is_left_out(
    tmp_path: Path, with_: str, used: list[str], shared: str
) -> None:
    assert names(written(tmp_path, entry("u", **{shared: labelled(with_)[shared]}), entry("v"))) == used


def test_a_recorded_duplicate_of_a_test_image_is_left_out_through_others_too(tmp_path: Path) -> None:
    pairs = [{"items": [f"{one}.png", f"{other}.png"], "exact": False} for one, other in ("uv", "vc")]
    assert names(written(tmp_path, entry("u"), entry("v"), entry("w"), duplicates=pairs)) == ["w"]


def test_what_an_audit_found_alike_a_validation_image_is_left_out(tmp_path: Path) -> None:
    datalist = written(tmp_path, entry("u"), entry("v"))
    ends = [content(datalist.part("unlabelled")[0]), content(datalist.part("validation")[0])]
    (tmp_path / "audit.json").write_text(json.dumps({"duplicates": [{"contents": ends, "exact": False}]}))
    assert names(datalist) == ["v"]


def test_of_folds_the_one_that_validates_judges(tmp_path: Path) -> None:
    folds = [labelled("a", fold=0), labelled("b", fold=1)]
    datalist = written(
        tmp_path, entry("u", group="a"), entry("v", group="b"), entry("w", group="c"), training=folds, validation=[]
    )
    assert names(datalist, 0) == ["v"]
    assert names(datalist, 1) == ["u"]


def test_images_that_were_not_indexed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unlabelled items without group or hash; index the images"):
        unlabelled_for_training(written(tmp_path, {"image": "u.png"}))


def test_an_image_without_its_label_says_nothing_of_it(tmp_path: Path) -> None:
    drawn = {
        "label_is": "jpeg",
        "label_values": [1],
        "label_size": [2, 2],
        "structures": {"x": None},
        "areas": {"x": 1},
    }
    bare = without_label(Item.from_fields(labelled("a", fold=1, **drawn)))
    assert bare == Item.from_fields(entry("a"))


def test_the_hash_is_of_contents_wherever_they_lie(tmp_path: Path) -> None:
    one, other = Item.from_fields(entry("a")), Item.from_fields(entry("b"))
    moved = Item.from_fields({**entry("a"), "image": "elsewhere.png"})
    assert hash_of([one, other]) == hash_of([other, moved])
    assert hash_of([one]) != hash_of([other])
