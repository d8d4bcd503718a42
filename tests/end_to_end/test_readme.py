"""The README's commands, in its order, in an empty folder, on phantoms and with small settings."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from documents import ROOT, blocks, commands
from processes import NO_PAGE, inside, stock, succeeded

from delineate import Segmenter

pytestmark = pytest.mark.slow

README = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Figures")[0]  # those are of real images
TRAINED_ALIKE = "delineate compare skin_lesion"
NOT_HERE = ("make", "pip", TRAINED_ALIKE, "delineate cross-validate", "delineate export")  # tested elsewhere
SMALLER = {
    r"max_epochs=\d+": "max_epochs=1",
    r"image_size=\[\d+,\d+\]": "image_size=[64,64]",
    r"--count \d+": "--count 4",
}
SMALL = ["--set", "max_epochs=1", "--set", "image_size=[64,64]"]
QUICK = ["--set", "epoch_length=1", *NO_PAGE]
SMALLER_PYTHON = {r"\[\d+, \d+\]": "[64, 64]", r'"max_epochs": \d+': '"max_epochs": 1'}


def smaller(text: str, table: dict[str, str]) -> str:
    for pattern, value in table.items():
        text = re.sub(pattern, value, text)
    return text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all commands were run."""
    folder = tmp_path_factory.mktemp("readme")
    succeeded(inside("data", "phantoms", "--out", "ISIC2018", "--count", "16", cwd=folder))
    shutil.copytree(folder / "ISIC2018" / "images", folder / "photos")
    shutil.copytree(folder / "ISIC2018", folder / "my_photos")
    cwd = folder
    for line in commands(README):
        if line.startswith(NOT_HERE):
            continue
        words = shlex.split(smaller(line, SMALLER))
        if words[0] == "cd":
            cwd /= words[1]
            shutil.copytree(folder / "photos", cwd / "photos")
        elif words[0] == "delineate":
            if words[1] == "train":
                words += [*(SMALL if "--set" not in words else []), *QUICK]
            succeeded(inside(*words[1:], cwd=cwd))
        else:
            succeeded(stock(*words[3:], cwd=cwd))
    return folder


def test_they_leave_what_it_says(folder: Path) -> None:
    for run in ("skin", "skin_dice", "wound", "ct", "se_depthwise"):
        assert (folder / "runs" / run / "models" / "model.pt").is_file()
    assert (folder / "evaluation/skin/metrics.json").is_file()
    assert "skin and skin_dice" in (folder / "comparison/comparison.md").read_text()
    assert (folder / "predictions/phantom_0001_mask.png").is_file()
    assert (folder / "masks/phantom_0001_mask.nii.gz").is_file()
    assert (folder / "runs/skin/predictions/phantom_0001_mask.png").is_file()


def test_the_lines_of_python_run_after_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = blocks(README, "python")
    shutil.copyfile(folder / "photos/phantom_0001.jpg", folder / "photo.jpg")
    shutil.rmtree(folder / "predictions")
    monkeypatch.chdir(folder)
    exec(smaller(block, SMALLER_PYTHON), {})
    assert (folder / "predictions/phantom_0001_mask.png").is_file()
    assert (folder / "predictions/phantom_0001_mask_outline.png").is_file()


def test_the_example_of_the_segmenter_runs_after_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = (Segmenter.__doc__ or "").split("Example::\n")[1]
    monkeypatch.chdir(folder)
    printed: list[object] = []
    exec("if True:\n" + example, {"Segmenter": Segmenter, "print": lambda *words: printed.append(words)})
    assert len(printed) == 16
