from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.loading.unlabelled import load_unlabelled


def write(folder: Path, *unlabelled: str) -> Path:
    def entry(name: str) -> dict[str, str]:
        (folder / f"{name}.png").touch()
        return {"image": f"{name}.png", "group": name[0], "image_sha256": name}

    content = {"test": [{**entry("t1"), "label": "t1.png"}], "unlabelled": [entry(name) for name in unlabelled]}
    (folder / "datalist.json").write_text(json.dumps(content))
    return folder


def test_items_have_absolute_paths_and_what_was_left_out_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "delineate"):
        items = load_unlabelled(write(tmp_path, "u1", "u2", "t2"))
    assert [item["image"] for item in items] == [f"{tmp_path}/u1.png", f"{tmp_path}/u2.png"]
    assert caplog.messages == [
        "2 images without masks used, 1 left out, because they belong to validation or test images, or show the same"
    ]


def test_a_file_that_is_gone_is_left_out_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (write(tmp_path, "u1", "v1") / "u1.png").unlink()
    assert [Path(item["image"]).stem for item in load_unlabelled(tmp_path)] == ["v1"]
    assert "u1.png: listed in the datalist but not there" in caplog.text


@pytest.mark.parametrize(("names", "why"), [((), "has no such images"), (("t2",), "has 1 image without masks, but")])
def test_where_no_image_is_left_it_says_what_to_do(tmp_path: Path, names: tuple[str, ...], why: str) -> None:
    with pytest.raises(DelineateError, match=f"{why}.* or leave out --use-unlabelled"):
        load_unlabelled(write(tmp_path, *names))
