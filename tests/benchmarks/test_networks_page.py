from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from matplotlib.text import Annotation
from PIL import Image
from scripts import ROOT, script

from delineate.networks import list_networks, network_facts

CPU = "AMD EPYC (avx512_bf16)"


networks_page = script("networks_page")


def speed_row(network: str, default_ms: float | None, device: str = "cpu", **others: Any) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    if default_ms is not None:
        figures = {"float32_ms": 3 * default_ms, "default_ms": default_ms, "latency_ratio": 3, "inference_mb": 61.7}
        figures |= {"float32_images_s": 33, "default_images_s": 47, "training_ratio": 1.42, "training_mb": 1234.5}
        figures |= {"parameters": 33_047, "side": 256, "training_side": 128}
    made_with = {"device": device, "cpu": CPU, "threads": 2, "torch": "2.13.0", "monai": "1.6.1"}
    return {"network": network, "precision": "bfloat16", "error": ""} | figures | made_with | others


def dice_row(network: str, dice: float, **others: Any) -> dict[str, Any]:
    scores = {"dice": dice, "dice_low": dice - 0.03, "dice_high": dice + 0.02, "iou": dice - 0.1, "latency_ms": 4.7}
    training = {"parameters": 33_047, "epochs": 7, "steps": 1547, "training_minutes": 9.87, "images": 61, "seed": 0}
    made_with = {"precision": "bfloat16", "dataset_hash": 64 * "a", "device": CPU, "torch": "2.13.0", "monai": "1.6.1"}
    return {"network": network, "error": ""} | scores | training | made_with | others


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def first_cells(text: str) -> list[str]:
    """What stands first in each line of the page's tables, without the titles and rules."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [line.split("|")[1].strip().replace("`", "") for line in lines]


def section(text: str, title: str) -> str:
    return text.split(f"{title}\n", 1)[1].split("\n## ")[0]


def test_the_page_is_what_the_script_writes() -> None:
    assert (ROOT / "docs" / "networks.md").read_text(encoding="utf-8") == networks_page.page(), "run make docs"


def test_the_page_shows_the_pictures_that_are_there() -> None:
    text = networks_page.PAGE.read_text(encoding="utf-8")
    pictures = [part.split(")")[0] for part in text.split("](images/")[1:]]
    assert sorted(path.name for path in networks_page.IMAGES.glob("networks_*.png")) == sorted(pictures), (
        "run make docs"
    )


def test_what_is_not_measured_is_said(tmp_path: Path) -> None:
    text = networks_page.page(tmp_path)
    assert first_cells(text) == list_networks()
    assert text.count("Not measured yet") == 3
    assert "![" not in text


def test_the_lowest_latency_comes_first(tmp_path: Path) -> None:
    write(tmp_path / "networks.csv", [speed_row("b", 61), speed_row("a", 7.04), speed_row("c", 1023.4)])
    text = section(networks_page.page(tmp_path), "## How fast")
    assert first_cells(text) == ["a", "b", "c"]
    assert "| `a` | 21.1 | 7.04 | 3.00 | 61.7 | 33.0 | 47.0 | 1.42 | 1,234 |" in text
    assert f"{CPU}, 2 threads, torch 2.13.0, MONAI 1.6.1; default precision is bfloat16" in text


def test_a_network_that_failed_is_named_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path / "networks.csv", [speed_row("a", 7), speed_row("b", None, error="infer: no memory")])
    text = section(networks_page.page(tmp_path), "## How fast")
    assert first_cells(text) == ["a"]
    assert "Failed: `b` (infer: no memory)." in text


def test_another_size_is_said(tmp_path: Path) -> None:
    write(tmp_path / "networks.csv", [speed_row("a", 7, side=268, training_side=188)])
    assert "| `a` (268x268) | 21.0 | 7.00 | 3.00 | 61.7 | 33.0 | 47.0 (188x188) |" in networks_page.page(tmp_path)


def test_each_machine_has_its_table_the_cpu_first(tmp_path: Path) -> None:
    write(tmp_path / "networks.csv", [speed_row("a", 0.7, device="A GPU"), speed_row("b", 9), speed_row("a", 11)])
    text = section(networks_page.page(tmp_path), "## How fast")
    assert first_cells(text) == ["b", "a", "a"]
    assert text.index(CPU) < text.index("A GPU, ") < text.index("--append --device cuda")


def test_the_best_dice_comes_first(tmp_path: Path) -> None:
    write(
        tmp_path / "compare_isic.csv", [dice_row("a", 0.71), dice_row("b", 0.93), {"network": "c", "error": "killed"}]
    )
    text = section(networks_page.page(tmp_path), "### ISIC 2018").split("###")[0]
    assert first_cells(text) == ["b", "a"]
    assert "| `b` | 0.930 (0.900 - 0.950) | 0.830 | 4.70 | 33,047 | 7 | 1,547 | 9.9 |" in text
    assert f"61 test images, seed 0, bfloat16, {CPU}" in text
    assert "Failed: `c` (killed)." in text


def test_the_command_of_a_comparison_is_made_from_its_terms(tmp_path: Path) -> None:
    write(tmp_path / "compare_busi.csv", [dice_row("a", 0.71), dice_row("b", 0.93)])
    terms = {"networks": ["a", "b"], "minutes": 7.5, "loss": "dice", "settings": {"image_size": [128, 128], "seed": 3}}
    (tmp_path / "compare_busi.json").write_text(json.dumps(terms), encoding="utf-8")
    command = (
        "delineate compare breast_lesion --data data/busi --networks a,b --minutes 7.5 --loss dice "
        "--set 'image_size=[128,128]' --set seed=3"
    )
    assert command in networks_page.page(tmp_path)


def test_a_network_for_one_size_says_so() -> None:
    (name,) = (name for name in list_networks() if name == "monai.UNETR")
    assert networks_page.sides(network_facts(name)) == "256 only"


@pytest.mark.parametrize("name", list_networks())
def test_a_citation_is_short_and_linked(name: str) -> None:
    cited = networks_page.cited(network_facts(name).reference)
    text, link = cited.removeprefix("[").removesuffix(")").split("](")
    assert link.startswith("https://doi.org/10.")
    assert text[-4:].isdigit(), "ends with the year"
    assert len(text) < 60


@pytest.mark.parametrize(
    ("number", "text"), [(0.03047, "0.0305"), (3.047, "3.05"), (33.047, "33.0"), (3304.7, "3,305"), (0, "0")]
)
def test_a_number_has_three_digits(number: float, text: str) -> None:
    assert networks_page.short(number) == text


def test_names_in_a_picture_do_not_hide_each_other(tmp_path: Path) -> None:
    figure = networks_page.new_figure(height=5)
    axes = figure.subplots()
    axes.set(xscale="log", yscale="log")
    points = [(f"network_{i}", 1e6 * 1.07**i, 33 * 1.05**i) for i in range(9)]
    networks_page.scatter(axes, points)
    networks_page.finish(figure, tmp_path / "picture.png", [(axes, points, [])])
    boxes = [networks_page.move(each, each.xyann) for each in axes.texts if isinstance(each, Annotation)]
    assert len(boxes) == len(points)
    assert [box.count_overlaps(boxes) for box in boxes] == [1] * len(boxes), "each overlaps itself alone"


def test_pictures_are_drawn_from_the_rows(tmp_path: Path) -> None:
    write(tmp_path / "networks.csv", [speed_row("a", 7), speed_row("monai.b", 9)])
    write(tmp_path / "compare_isic.csv", [dice_row("a", 0.71), dice_row("monai.b", 0.93)])
    scores = networks_page.read_table(tmp_path / "compare_isic.csv")
    networks_page.draw_latency(networks_page.read_table(tmp_path / "networks.csv"), tmp_path / "latency.png")
    networks_page.draw_dice({"one": scores, "two": scores}, tmp_path / "dice.png")
    with Image.open(tmp_path / "latency.png") as latency, Image.open(tmp_path / "dice.png") as dice:
        assert dice.height > latency.height, "one panel a data set, one below the other"
