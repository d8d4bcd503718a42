"""``delineate compare`` in this process, on phantoms."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from judged_folders import dice, write_judged
from PIL import Image
from processes import Done, inside, refusal, succeeded


@pytest.fixture(scope="module")
def runs(phantom_run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A run, and a copy of it that outlines only what it is sure of."""
    folders = [tmp_path_factory.mktemp("compared") / name for name in ("usual", "strict")]
    for folder, threshold in zip(folders, ("0.3", "0.5"), strict=True):
        shutil.copytree(phantom_run, folder, ignore=shutil.ignore_patterns("logs", "checkpoints"))
        for config in (folder / "configs").glob("*.yaml"):
            text = re.sub(r"(?m)^threshold: \S+", f"threshold: {threshold}", config.read_text())
            config.write_text(re.sub(r"(?m)^page: \S+", "page: false", text))
    return folders


@pytest.fixture(scope="module")
def compared(runs: list[Path], phantom_data: Path) -> tuple[Path, Done]:
    out = runs[0].parent / "out"
    return out, succeeded(inside("compare", *runs, "--on", phantom_data, "--out", out, "--metric", "mean_iou"))


def test_runs_are_evaluated_and_compared(compared: tuple[Path, Done]) -> None:
    out, done = compared
    found = json.loads((out / "comparison.json").read_text())
    scores = [json.loads((out / name / "evaluation/metrics.json").read_text()) for name in ("usual", "strict")]
    (row,) = found["comparisons"]
    assert row["difference"] == pytest.approx(scores[1]["mean_iou"]["value"] - scores[0]["mean_iou"]["value"])
    assert row["verdict"] in done.stdout
    assert row["verdict"] in (out / "comparison.html").read_text().replace("&#39;", "'")


def test_where_they_differ_most_is_drawn(compared: tuple[Path, Done]) -> None:
    out, _ = compared
    found = json.loads((out / "comparison.json").read_text())
    assert found["notes"] == []
    assert found["largest"][0]["picture"] == "figures/difference_01.png"
    sizes = [abs(one["difference"]) for one in found["largest"]]
    assert sizes == sorted(sizes, reverse=True)
    picture = np.asarray(Image.open(out / found["largest"][0]["picture"]))
    cyan, yellow = (((picture == colour).all(2)).any(0) for colour in ((0, 225, 255), (255, 220, 0)))
    third = picture.shape[1] // 3
    assert cyan[:third].any()
    assert not yellow[:third].any()
    assert (out / "comparison.html").read_text().count("data:image/png") == len(found["largest"])


def test_the_same_again_evaluates_nothing_and_another_run_is_evaluated_anew(
    compared: tuple[Path, Done], runs: list[Path], phantom_data: Path, tmp_path: Path
) -> None:
    shutil.copytree(compared[0], tmp_path / "out")
    again = succeeded(inside("compare", *runs, "--on", phantom_data, "--out", tmp_path / "out"))
    assert again.stdout.count("it is used again") == 2
    assert "python -m monai.bundle" not in again.stdout
    other = succeeded(
        inside("compare", *runs, "--on", phantom_data, "--out", tmp_path / "out", "--split", "validation")
    )
    assert other.stdout.count("python -m monai.bundle") == 2


def test_evaluations_made_before_are_compared_without_their_run(
    compared: tuple[Path, Done], phantom_data: Path, tmp_path: Path
) -> None:
    folders = [tmp_path / name / "evaluation" for name in ("usual", "strict")]
    for folder in folders:
        shutil.copytree(compared[0] / folder.parent.name / "evaluation", folder)
        metrics = json.loads((folder / "metrics.json").read_text())
        metrics["bundle"]["path"] = str(tmp_path / "gone")
        (folder / "metrics.json").write_text(json.dumps(metrics))
    done = succeeded(inside("compare", *folders, "--on", phantom_data, cwd=tmp_path))
    assert "There are no pictures with usual: its run is not there" in done.stdout
    assert (tmp_path / "runs/usual_vs_strict/comparison.html").is_file()


def test_a_run_that_has_changed_since_is_not_drawn(
    compared: tuple[Path, Done], runs: list[Path], phantom_data: Path, tmp_path: Path
) -> None:
    for name, run in zip(("usual", "strict"), reversed(runs), strict=True):
        folder = tmp_path / name
        shutil.copytree(compared[0] / name / "evaluation", folder)
        metrics = json.loads((folder / "metrics.json").read_text())
        metrics["bundle"]["path"] = str(run)
        (folder / "metrics.json").write_text(json.dumps(metrics))
    done = succeeded(inside("compare", "usual", "strict", "--on", phantom_data, "--out", "out", cwd=tmp_path))
    assert "is another one by now" in done.stdout


def test_of_too_few_images_it_is_said_before_that_nothing_can_be_shown(compared: tuple[Path, Done]) -> None:
    _, done = compared
    assert done.stderr.startswith("no difference can be shown on the split test of ")
    assert "are too few to show any" in done.stdout


def test_a_score_that_there_will_not_be_is_refused_before_anything_is_evaluated(
    runs: list[Path], phantom_data: Path, tmp_path: Path
) -> None:
    done = inside("compare", *runs, "--on", phantom_data, "--out", tmp_path / "out", "--metric", "mean_dise")
    assert "metric of usual is called 'mean_dise'; did you mean 'mean_dice'" in refusal(done)
    assert "python -m monai.bundle" not in done.stdout
    assert not (tmp_path / "out").exists()


def test_a_run_is_not_written_into(runs: list[Path], phantom_data: Path) -> None:
    done = inside("compare", *runs, "--on", phantom_data, "--out", runs[0])
    assert f"write into a folder of its own, e.g. {runs[0] / 'evaluation'}" in refusal(done)
    assert not (runs[0] / "comparison.html").exists()


WRONG = {
    "one": (["a"], "a alone cannot be compared"),
    "data without networks": (["a", "b", "--data", "d"], "name the data set that runs are compared on with --on"),
    "training without networks": (["a", "b", "--minutes", "3", "--resume"], "leave out --minutes, --resume, or"),
    "no epochs": (["a", "b", "--epochs", "0"], "leave out --epochs, or"),
    "networks with on": (["a", "--networks", "unet", "--data", "d", "--on", "d"], "--on is of runs that are compared"),
    "networks without data": (["a", "--networks", "unet", "--minutes", "1"], "name the data set with --data"),
    "networks in two": (["a", "b", "--networks", "unet", "--data", "d"], "--networks trains in one bundle"),
    "runs without data": (["skin_lesion", "nerve"], "skin_lesion, nerve has to be evaluated: name the data set"),
    "twice": (["skin_lesion", "skin_lesion", "--on", "d"], "one is named twice"),
    "nothing": (["a", "nowhere"], "is called 'nowhere'"),
}


@pytest.mark.parametrize(("words", "message"), WRONG.values(), ids=WRONG)
def test_options_that_do_not_go_together_are_refused_with_what_to_do(
    words: list[str], message: str, tmp_path: Path
) -> None:
    write_judged(tmp_path / "a", {"mean_dice": dice(1)})
    write_judged(tmp_path / "b", {"mean_dice": dice(2)})
    assert message in refusal(inside("compare", *words, cwd=tmp_path))
    assert not (tmp_path / "runs").exists()


def test_images_that_could_not_be_scored_end_in_exit_code_1(tmp_path: Path) -> None:
    for name in "ab":
        write_judged(tmp_path / name, {"mean_dice": dice(1)}, refused=["x.png: is empty"])
    done = inside("compare", "a", "b", cwd=tmp_path)
    assert done.returncode == 1
    assert "1 image could not be scored" in done.stderr
    assert "a and b are equal in mean Dice in every image." in done.stdout
