from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from delineate.pipelines.core.errors import DelineateError, InputError
from delineate.pipelines.evaluation.evaluation import merge, read_evaluation, write_evaluation
from delineate.pipelines.evaluation.metrics import METRICS
from delineate.pipelines.evaluation.rows import score_masks
from delineate.pipelines.evaluation.scored import Evaluation, Worst, suffixes_of
from delineate.pipelines.imaging.structures import Structure

NAMES = (Structure("heart"), Structure("left lung"))


def evaluation(
    count: int = 12, structures: tuple[Structure, ...] = (), seed: int = 0, name: str = "image", **settings: Any
) -> Evaluation:
    """Squares that are found more or less well; some images have none."""
    rng, planes = np.random.default_rng(seed), max(len(structures), 1)
    rows = []
    for index in range(count):
        reference = np.zeros((planes, 20, 24), np.uint8)
        reference[:, 4 : 4 + rng.integers(0, 12), 5:15] = 1
        prediction = np.roll(reference, rng.integers(0, 4), 2) * (rng.random() > 0.2)
        if planes > 1 and index % 3 == 0:
            reference[1] = 255
        row = {"image": f"{name}{index}.png", "group": f"-{index // 2}", "class": "ab"[index % 2], "device": "7"}
        rows.append(row | score_masks(prediction.astype(np.uint8), reference, suffixes_of(structures)))
    facts = {"split": "test", "refused": [f"{name}: is empty; copy it again"], "versions": {"torch": "2"}}
    histograms = rng.integers(0, 50, (planes, 2, 256))
    return Evaluation(rows, list(METRICS), structures, histograms, facts | {"settings": settings})


@pytest.mark.parametrize("structures", [(), NAMES], ids=["one", "several"])
def test_what_was_written_is_read_again(structures: tuple[Structure, ...], tmp_path: Path) -> None:
    given = evaluation(structures=structures, subgroups=["class", "size", "device"])
    first = write_evaluation(given, tmp_path / "a", page=False)
    again = read_evaluation(tmp_path / "a")
    second = write_evaluation(again, tmp_path / "b", page=False)
    assert second == first == json.loads((tmp_path / "a/metrics.json").read_text())
    for name in ("per_image.csv", "report.txt"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert [row["device"] for row in again.rows] == ["7"] * 12


def test_parts_merged_are_the_whole(tmp_path: Path) -> None:
    parts = [evaluation(8, NAMES, seed, f"fold{seed}_") for seed in (1, 2)]
    whole = merge(parts)
    metrics = write_evaluation(whole, tmp_path, page=False)
    assert metrics["count"] == 16
    assert metrics["refused"] == [f"fold{seed}_: is empty; copy it again" for seed in (1, 2)]
    dice = np.array([row["mean_dice_heart"] for part in parts for row in part.rows])
    assert metrics["structures"]["heart"]["mean_dice"]["value"] == pytest.approx(dice.mean())
    counts = [part.histograms for part in parts if part.histograms is not None]
    assert np.array_equal(metrics["structures"]["left lung"]["curve"]["counts"], (counts[0] + counts[1])[1])


def test_facts_that_differ_are_kept_side_by_side() -> None:
    one, other = evaluation(), evaluation(seed=1)
    one.facts["data_hash"], other.facts["data_hash"] = "a", "b"
    merged = merge([one, other])
    assert merged.facts["data_hash"] == ["a", "b"]
    assert merged.facts["split"] == "test"


@pytest.mark.parametrize(
    ("other", "what"), [(evaluation(structures=NAMES), "structures"), (evaluation(tolerance_mm=3.0), "settings")]
)
def test_evaluations_of_another_kind_are_not_merged(other: Evaluation, what: str) -> None:
    with pytest.raises(DelineateError, match=f"of other {what}"):
        merge([evaluation(), other])


def test_a_folder_without_an_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no metrics\.json; name the folder of an evaluation"):
        read_evaluation(tmp_path)


def test_a_damaged_evaluation_is_refused(tmp_path: Path) -> None:
    write_evaluation(evaluation(), tmp_path, page=False)
    (tmp_path / "per_image.csv").write_text("image,mean_dice\na.png,high\n")
    with pytest.raises(InputError, match="holds no evaluation that can be read"):
        read_evaluation(tmp_path)


def test_the_summary_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cross-validation takes a fold for done by it: one that was killed before has to be judged again."""
    write_evaluation(evaluation(), tmp_path, page=False)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("delineate.pipelines.evaluation.evaluation.write_page", killed)
    with pytest.raises(KeyboardInterrupt):
        write_evaluation(evaluation(), tmp_path)
    assert (tmp_path / "per_image.csv").is_file()
    assert not (tmp_path / "metrics.json").exists()


def test_an_evaluation_without_a_page_leaves_none_of_before(tmp_path: Path) -> None:
    figures = tmp_path / "figures"
    figures.mkdir()
    for name in ("report.html", "figures/worst_01.png", "figures/mine.png"):
        (tmp_path / name).touch()
    write_evaluation(evaluation(), tmp_path, page=False)
    assert not (tmp_path / "report.html").exists()
    assert [path.name for path in figures.iterdir()] == ["mine.png"]


def test_worst_images_without_a_picture_are_read_without_them(tmp_path: Path) -> None:
    given = evaluation()
    given.worst.append(Worst(0))
    write_evaluation(given, tmp_path, page=False)
    assert read_evaluation(tmp_path).worst == []


def test_evaluations_of_other_bundles_and_versions_make_one_page(tmp_path: Path) -> None:
    """As of a cross-validation that goes on after an update."""
    one, other = evaluation(), evaluation(seed=1)
    one.facts |= {"bundle": {"name": "a", "path": "/a"}, "versions": {"monai": "1.5.1", "torch": "2.13.0"}}
    other.facts |= {"bundle": {"name": "b", "path": "/b"}, "versions": {"monai": "1.5.2", "torch": "2.13.0"}}
    metrics = write_evaluation(merge([one, other]), tmp_path)
    assert metrics["protocol"].endswith("MONAI 1.5.1 and 1.5.2, PyTorch 2.13.0.")
    assert "monai 1.5.1 and 1.5.2" in (tmp_path / "report.html").read_text(encoding="utf-8")
