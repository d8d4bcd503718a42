"""What segment and evaluate leave behind, print and refuse."""

from __future__ import annotations

import csv
import json
import os
import pty
import shutil
from pathlib import Path
from select import select
from typing import TYPE_CHECKING

import pytest
from processes import DELINEATE, NO_PAGE, call, delineate, inside, refusal, start, succeeded

if TYPE_CHECKING:
    from conftest import Place

pytestmark = pytest.mark.slow


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def photos(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of one name in two folders, of a name too long for a mask, and of one that is no UTF-8."""
    folder = tmp_path_factory.mktemp("photos")
    images = sorted((dataset.parent / "phantoms" / "images").iterdir())
    for image, name in zip(images, ("a/x.jpg", "b/X.jpg", f"a/{'l' * 250}.jpg", "a/\udcff\n.jpg"), strict=False):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(image, folder / name)
    return folder


def test_a_second_call_adds_to_the_table_and_overwrites_no_mask(place: Place, photos: Path, tmp_path: Path) -> None:
    done = succeeded(delineate("segment", place.run, photos / "a", "--out", "m", cwd=tmp_path))
    assert "3 segmented, 0 refused" in done.stdout
    assert r"\xff\n.jpg -> m/__" in done.stdout
    second = delineate("--quiet", "segment", place.run, photos / "b/X.jpg", "missing.png", "--out", "m", cwd=tmp_path)
    assert (second.returncode, second.stdout) == (1, "")
    assert [line.split(":")[0] for line in second.stderr.splitlines()] == ["refused"]
    rows = table(tmp_path / "m")
    assert [row["status"] for row in rows] == ["segmented"] * 4 + ["refused"]
    assert rows[3]["mask"] == "X_2_mask.png"
    assert {row["threshold"] for row in rows} == {"0.5"}
    assert all((tmp_path / "m" / row["mask"]).is_file() for row in rows[:4])


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_an_out_that_is_a_file_is_one_line(place: Place, photos: Path, tmp_path: Path, out: str) -> None:
    (tmp_path / "file").touch()
    for words in (("segment", place.run, photos), ("evaluate", place.run, "--data", place.dataset)):
        assert "is no folder" in refusal(inside(*words, "--out", out, cwd=tmp_path))


def test_settings_are_those_of_the_workflow(place: Place, photos: Path, tmp_path: Path) -> None:
    words = ("segment", place.run, photos / "a/x.jpg", "--out", "m", "--set")
    succeeded(inside(*words, "threshold=0", cwd=tmp_path))
    assert table(tmp_path / "m")[0]["threshold"] == "0"
    assert "did you mean 'threshold'" in refusal(inside(*words, "treshold=0", cwd=tmp_path))
    assert "an option of its own" in refusal(inside(*words, "output_dir=x", cwd=tmp_path))


def test_a_fold_is_scored(place: Place, tmp_path: Path) -> None:
    succeeded(inside("data", "split", place.dataset, "--out", "folds", "--folds", "3", cwd=tmp_path))
    words = ("evaluate", place.run, "--data", "folds", "--out", "e", *NO_PAGE)
    done = succeeded(inside(*words, "--fold", "1", cwd=tmp_path))
    assert "--split validation --fold 1" in done.stdout
    items = json.loads((tmp_path / "folds/datalist.json").read_text())["training"]
    scored = json.loads((tmp_path / "e/metrics.json").read_text())
    assert (scored["split"], scored["count"]) == ("validation", sum(item["fold"] == 1 for item in items))
    assert "there are: 0, 1, 2" in refusal(inside(*words, "--fold", "7", cwd=tmp_path))


def test_what_libraries_say_is_for_the_verbose(place: Place, tmp_path: Path) -> None:
    words = ("evaluate", place.run, "--data", place.dataset, "--out", "e")
    done = succeeded(delineate(*words, cwd=tmp_path))
    assert done.stderr == ""
    assert not [line for line in done.stdout.splitlines() if not line or " - INFO - " in line]
    assert "score\tmean\t95 % interval" in done.stdout.splitlines()
    verbose = succeeded(delineate(*words, "--verbose", *NO_PAGE, cwd=tmp_path))
    assert "skipping logging" in verbose.stderr  # MONAI's own words


def test_a_terminal_shows_progress_with_the_time_left(
    place: Place, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = pty.openpty()
    words = ("delineate", "segment", place.run, photos / "a", "--out", tmp_path / "masks")
    process = start(*words, log=tmp_path / "printed", errors=Path(os.ttyname(theirs)))
    shown = b""
    while process.is_alive() or select([ours], [], [], 0)[0]:
        if select([ours], [], [], 0.1)[0]:
            shown += os.read(ours, 4096)
    for end in (ours, theirs):
        os.close(end)
    assert process.exitcode == 0
    assert "segmenting" in shown.decode(errors="replace")
    printed = (tmp_path / "printed").read_bytes().decode(errors="surrogateescape")
    assert "\x1b" not in printed
    assert "3 segmented, 0 refused" in printed


def test_version_and_completion_need_no_torch() -> None:
    assert succeeded(delineate("--version")).stdout.startswith("delineate ")
    asked = {"_DELINEATE_COMPLETE": "complete_bash", "COMP_WORDS": "delineate segment skin", "COMP_CWORD": "2"}
    code = "import sys; from delineate.pipelines.cli import main; main()"
    done = call("python", "-X", "importtime", "-c", code, env=asked)
    assert "torch" not in done.stderr
    assert call(DELINEATE, env=asked).stdout.split() == ["skin_lesion"]
