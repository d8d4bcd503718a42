from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judged_folders import dice, write_judged
from markupsafe import escape

from delineate.pipelines.comparison.paired import compare, names_of
from delineate.pipelines.core.errors import DelineateError, UnknownNameError

GROUPS = [f"patient {index // 3}" for index in range(30)]


def made(folder: Path, *seeds: int, shift: float = 0.0, **more: Any) -> list[Path]:
    return [
        write_judged(folder / f"net{seed}", {"mean_dice": dice(seed, shift=shift * place)}, **more)
        for place, seed in enumerate(seeds)
    ]


def test_swapping_both_mirrors_everything(tmp_path: Path) -> None:
    first, second = made(tmp_path, 1, 2, groups=GROUPS)
    (there,), (back,) = (compare(order)["comparisons"] for order in ([first, second], [second, first]))
    assert back["difference"] == pytest.approx(-there["difference"])
    assert back["ci95"] == pytest.approx([-bound for bound in reversed(there["ci95"])], abs=1e-9)
    assert (back["p"], back["groups_needed"]) == (there["p"], there["groups_needed"])
    assert (back["a_better"], back["b_better"], back["ties"]) == (there["b_better"], there["a_better"], there["ties"])
    assert (back["a_mean"], back["b_mean"]) == (there["b_mean"], there["a_mean"])


def test_equal_evaluations_differ_by_nothing(tmp_path: Path) -> None:
    write_judged(tmp_path / "a", {"mean_dice": dice(1)})
    write_judged(tmp_path / "b", {"mean_dice": dice(1)})
    found = compare([tmp_path / "a", tmp_path / "b"])
    (row,) = found["comparisons"]
    assert (row["difference"], row["ci95"], row["p"], row["ties"]) == (0, [0, 0], 1, 30)
    assert row["verdict"] == "a and b are equal in mean Dice in every image."
    assert found["largest"] == []


def test_the_difference_is_that_of_the_means_and_groups_are_tested(tmp_path: Path) -> None:
    folders = made(tmp_path, 1, 2, groups=GROUPS, shift=0.05)
    (row,) = compare(folders)["comparisons"]
    a, b = np.array(dice(1)), np.array(dice(2, shift=0.05))
    from scipy.stats import wilcoxon

    assert row["difference"] == pytest.approx(row["b_mean"] - row["a_mean"])
    assert row["difference"] == pytest.approx(float((b - a).mean()))
    assert row["p"] == pytest.approx(wilcoxon((b - a).reshape(10, 3).mean(1)).pvalue)
    assert (row["images"], row["groups"]) == (30, 10)


def test_all_pairs_and_metrics_are_one_family(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        scores = {"mean_dice": dice(seed, shift=seed / 50), "pixel_accuracy": dice(seed + 10)}
        write_judged(tmp_path / str(seed), scores)
    found = compare([tmp_path / name for name in "123"], metrics=["mean_dice", "pixel_accuracy"])
    assert [(row["a"], row["b"]) for row in found["comparisons"]] == 2 * [("1", "2"), ("1", "3"), ("2", "3")]
    smallest = min(found["comparisons"], key=lambda row: float(row["p"]))
    assert smallest["p_holm"] == pytest.approx(6 * smallest["p"])
    assert "family of 6 tests (3 pairs x 2 scores)" in found["methods"]


def test_of_several_structures_the_mean_is_tested_and_each_is_told(tmp_path: Path) -> None:
    for name, shift in (("a", 0.0), ("b", 0.1)):
        heart: list[float | None] = [*dice(1, shift=shift)]
        lung: list[float | None] = [None, *dice(2)[1:]]  # nobody annotated it in the first image
        mean = [h if lg is None else (h + lg) / 2 for h, lg in zip(heart, lung, strict=True) if h is not None]
        scores = {"mean_dice": mean, "mean_dice_heart": heart, "mean_dice_left_lung": lung}
        write_judged(tmp_path / name, scores, structures=["heart", "left lung"])
    found = compare([tmp_path / "a", tmp_path / "b"])
    (row,), (of_heart, of_lung) = found["comparisons"], found["exploratory"]
    assert (of_heart["structure"], of_lung["structure"]) == ("heart", "left lung")
    assert row["difference"] == pytest.approx((of_heart["difference"] + of_lung["difference"]) / 2)
    assert (of_lung["images"], of_lung["ties"], of_lung["p_holm"]) == (29, 29, None)
    assert "exploratory" in of_heart["verdict"]
    alone = compare([tmp_path / "a", tmp_path / "b"], metrics=["mean_dice_heart"])
    assert alone["comparisons"][0]["p_holm"] == of_heart["p"]


def test_a_value_that_one_lacks_is_left_out_of_both(tmp_path: Path) -> None:
    distances = [[3.0, None, 5.0, 2.0], [1.0, 1.0, 4.0, 1.0]]
    folders = [write_judged(tmp_path / str(i), {"hausdorff": one}) for i, one in enumerate(distances)]
    (row,) = compare(folders, metrics=["hausdorff"])["comparisons"]
    assert (row["images"], row["left_out"]) == (3, 1)
    assert row["a_mean"] == pytest.approx(10 / 3)


def test_without_a_common_value_nothing_is_said_but_that(tmp_path: Path) -> None:
    values = [[3.0, None], [None, 1.0]]
    folders = [write_judged(tmp_path / str(i), {"hausdorff": one}) for i, one in enumerate(values)]
    (row,) = compare(folders, metrics=["hausdorff"])["comparisons"]
    assert row["verdict"] == "0 and 1 share no value of hausdorff."


def test_rows_are_paired_by_image_and_slice_not_by_place(tmp_path: Path) -> None:
    images = [f"/data/ct{index // 10}.nii.gz" for index in range(30)]
    slices = [str(index % 10) for index in range(30)]
    scores, backwards = dice(1), slice(None, None, -1)
    write_judged(tmp_path / "a", {"mean_dice": scores}, images=images, more={"slice": slices})
    write_judged(
        tmp_path / "b", {"mean_dice": scores[backwards]}, images=images[backwards], more={"slice": slices[backwards]}
    )
    assert compare([tmp_path / "a", tmp_path / "b"])["comparisons"][0]["ties"] == 30


def test_evaluations_of_two_machines_are_paired_by_the_paths_below(tmp_path: Path) -> None:
    for name, place in (("a", "/home/me/isic"), ("b", "/mnt/isic")):
        images = [f"{place}/{index % 2}/{index}.png" for index in range(30)]
        write_judged(tmp_path / name, {"mean_dice": dice(1)}, images=images, groups=GROUPS)
    assert compare([tmp_path / "a", tmp_path / "b"])["comparisons"][0]["ties"] == 30


OTHER: dict[str, tuple[dict[str, Any], str]] = {
    "split": ({"split": "validation"}, "the split is test and validation"),
    "data": ({"data_hash": "9999"}, r"the data \(data_hash\) is 1234 and 9999"),
    "images": (
        {"images": ["/data/x.png", *(f"/data/{index:03}.png" for index in range(1, 30))]},
        r"1 image only in net1 \(/data/000.png\); 1 image only in net2 \(/data/x.png\)",
    ),
    "groups": ({"groups": ["x"] * 30}, "000.png has the group"),
    "references": (
        {"more": {"reference_pixels": [8] * 30}},
        "has the reference_pixels '7' in one and '8' in the other",
    ),
    "structures": ({"structures": ["heart", "lung"]}, "the structures are one alone and heart, lung"),
}


@pytest.mark.parametrize(("other", "message"), OTHER.values(), ids=OTHER)
def test_what_is_of_other_images_is_refused(other: dict[str, Any], message: str, tmp_path: Path) -> None:
    (first,) = made(tmp_path, 1)
    (second,) = made(tmp_path, 2, **other)
    with pytest.raises(DelineateError, match=f"net1 and net2 cannot be compared: .*{message}"):
        compare([first, second], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_metric_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'mean_dice'"):
        compare(made(tmp_path, 1, 2), metrics=["mean_dise"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "validation"}, "net1 is an evaluation of the split test"),
        ({"settings": {"threshold": 0.3}}, "are for runs"),
        ({"fold": 1}, "are for runs"),
    ],
    ids=str,
)
def test_what_only_an_evaluation_to_come_can_take_is_refused(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DelineateError, match=message):
        compare(made(tmp_path, 1, 2), **options)


@pytest.mark.parametrize("damage", ["metrics.json", "per_image.csv"])
def test_a_damaged_evaluation_is_refused_in_a_line(damage: str, tmp_path: Path) -> None:
    folders = made(tmp_path, 1, 2)
    (folders[1] / damage).write_text("{")
    with pytest.raises(DelineateError, match="net2 is no evaluation"):
        compare(folders)


def test_each_is_named_by_its_folder_and_by_more_where_that_is_not_enough() -> None:
    assert names_of(["runs/a", "runs/b/evaluation"]) == ["a", "b"]
    assert names_of(["x/unet", "y/unet", "y/deep"]) == ["x-unet", "y-unet", "y-deep"]
    with pytest.raises(DelineateError, match="named twice"):
        names_of(["runs/a", "runs/a/evaluation"])
    with pytest.raises(DelineateError, match="two or more"):
        names_of(["runs/a"])


def test_the_files_say_the_same(tmp_path: Path) -> None:
    odd = tmp_path / "<b>|x"
    write_judged(odd, {"mean_dice": dice(2, shift=0.1)})
    found = compare([*made(tmp_path, 1), odd], out=tmp_path / "out")
    assert json.loads((tmp_path / "out/comparison.json").read_text()) == json.loads(json.dumps(found))
    with (tmp_path / "out/comparison.csv").open(newline="") as file:
        (line,) = csv.DictReader(file)
    assert float(line["difference"]) == found["comparisons"][0]["difference"]
    with (tmp_path / "out/comparison_per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    of_images = [float(row["mean_dice: <b>|x - net1"]) for row in rows]
    assert np.mean(of_images) == pytest.approx(found["comparisons"][0]["difference"])
    page = (tmp_path / "out/comparison.html").read_text()
    assert "<b>|x is better than net1 by 0." in found["comparisons"][0]["verdict"]
    assert escape(found["comparisons"][0]["verdict"]) in page
    assert "<b>|x" not in page
    assert re.search(r"(src|xlink:href)=.http|<script|<link|url\(http", page) is None
    assert r"\<b>\|x is better than net1" in (tmp_path / "out/comparison.md").read_text()
    assert found["notes"] == ["There are no pictures, as no data set was named: give it with --on."]


def test_masks_that_a_network_drew_are_told_of(tmp_path: Path) -> None:
    for seed, name in enumerate(("old", "new")):
        write_judged(tmp_path / name, {"mean_dice": dice(seed)}, drafts=3)
    found = compare([tmp_path / "old", tmp_path / "new"], out=tmp_path / "out")
    assert found["warnings"] == ["Of 3 images the mask is as Delineate drew it, which favours the network that did."]


def test_a_network_that_has_seen_images_is_told_of(tmp_path: Path) -> None:
    write_judged(tmp_path / "old", {"mean_dice": dice(1)})
    write_judged(tmp_path / "again", {"mean_dice": dice(2)}, seen_in_training=12)
    found = compare([tmp_path / "old", tmp_path / "again"], out=tmp_path / "out")
    (warning,) = found["warnings"]
    assert warning.startswith("again has seen 12 of the images in its training, so its scores are too good")
    for name in ("comparison.html", "comparison.md"):
        assert warning in (tmp_path / "out" / name).read_text()
