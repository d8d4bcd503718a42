from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from delineate.pipelines.evaluation.pictures import Picture
from delineate.pipelines.evaluation.report import pick_examples, write_report
from delineate.pipelines.imaging.structures import Structure

METRICS: dict[str, Any] = {
    "count": 20,
    "mean_dice": {"value": 0.9314, "ci95": [0.912, 0.9449]},
    "mean_iou": {"value": 0.88, "ci95": None},
    "pixel_accuracy": 0.985,
    "versions": {"delineate": "0.1.0", "torch": "2.9"},
    "data_hash": "feedbeef",
}
HISTORY = "epoch,loss,learning_rate,val_mean_dice,val_mean_iou,seconds\n1,0.9,0.001,,,3\n2,0.5,0.001,0.8,0.7,3\n"


class Page(HTMLParser):
    """Tags with their attributes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def picture(name: str, dice: float | None = None, size: tuple[int, int] = (40, 60), channels: int = 3) -> Picture:
    mask = np.zeros(size, np.uint8)
    mask[10:20, 10:30] = 1
    return Picture(name, np.full((*size, channels), 120, np.uint8), mask, None if dice is None else mask, dice)


def report(tmp_path: Path, **given: Any) -> str:
    history = tmp_path / "history.csv"
    history.write_text(given.pop("history", HISTORY), encoding="utf-8")
    arguments: dict[str, Any] = {"title": "A run", "metrics": METRICS, "history_csv": history, **given}
    return write_report(tmp_path / "new" / "report.html", **arguments).read_text(encoding="utf-8")


def decoded(image: dict[str, str | None]) -> np.ndarray:
    data = (image["src"] or "").removeprefix("data:image/jpeg;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))), np.int32)


def test_page_needs_nothing_beside_it(tmp_path: Path) -> None:
    text = report(tmp_path, pictures=[picture("a.jpg", 0.9)], segmented=[picture("b.jpg")])
    page = Page(text)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    links = [attrs[key] or "" for _, attrs in page.tags for key in ("src", "href", "xlink:href") if key in attrs]
    assert all(link.startswith(("data:", "#")) for link in links)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_no_id_is_used_twice(tmp_path: Path) -> None:
    ids = [attrs["id"] for _, attrs in Page(report(tmp_path)).tags if "id" in attrs]
    assert ids
    assert len(ids) == len(set(ids))


def test_scores_stand_with_their_intervals(tmp_path: Path) -> None:
    text = report(tmp_path)
    assert re.search(r"Mean Dice.*0\.931.*0\.912 to 0\.945", text, re.DOTALL)
    assert all(part in text for part in ("20 images", "0.880", "0.985", "torch 2.9", "feedbeef"))


PARTS = {
    "heart": {"count": 20, "mean_dice": {"value": 0.9214, "ci95": [0.9, 0.94]}},
    "<lung>": {"count": 3, "mean_dice": {"value": None, "ci95": None}},
}


def test_each_structure_has_its_scores_below_their_mean(tmp_path: Path) -> None:
    text = report(tmp_path, metrics=METRICS | {"structures": PARTS})
    assert re.search(r"Mean Dice, mean over structures.*0\.931.*heart.*0\.921.*0\.900 to 0\.940.*Mean IoU", text, re.S)
    assert "&lt;lung&gt;</th><td><strong>–</strong>" in text  # noqa: RUF001


def test_a_metric_of_no_registry_stands_under_its_name(tmp_path: Path) -> None:
    text = report(tmp_path, metrics=METRICS | {"surface_dice": {"value": 0.75, "ci95": [0.5, 1]}})
    assert re.search(r"surface_dice.*0\.750.*0\.500 to 1\.000", text, re.DOTALL)


def test_each_structure_has_a_curve(tmp_path: Path) -> None:
    history = "epoch,loss,val_mean_dice,val_mean_dice_heart,val_mean_dice_left_lung\n1,1,0.5,0.4,0.6\n"
    labels = [chart["aria-label"] for chart in Page(report(tmp_path, history=history)).all("svg")]
    assert "Validation: Mean Dice of each structure by epoch, at the end: heart 0.4, left lung 0.6" in labels


def test_the_structures_of_a_picture_have_colours_and_a_legend(tmp_path: Path) -> None:
    masks = np.zeros((2, 40, 60), np.uint8)
    masks[0, 5:20, 5:25], masks[1, 20:35, 30:55] = 1, 1
    reference = np.stack([masks[0], np.full((40, 60), 255, np.uint8)])
    structures = (Structure("heart", colour=(255, 0, 0)), Structure("left lung", colour=(0, 0, 255)))
    drawn = Picture("a.png", np.full((40, 60, 3), 120, np.uint8), masks, reference, 0.5, structures)
    text = report(tmp_path, pictures=[drawn])
    _, left, right = (decoded(image) for image in Page(text).all("img"))
    reds, blues = ((lambda image, c=c: (image[..., c] > 190) & (image[..., 1] < 80)) for c in (0, 2))
    assert reds(right).any()
    assert blues(right).any()
    assert reds(left).any()
    assert not blues(left).any()  # nobody annotated it
    assert all(part in text for part in ("rgb(255, 0, 0)", "left lung", "the mean over structures"))


def test_a_single_structure_has_no_legend(tmp_path: Path) -> None:
    assert '<ul class="legend' not in report(tmp_path, pictures=[picture("a.jpg", 0.9)])


def test_names_are_escaped(tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script>.jpg'
    text = report(tmp_path, title=evil, pictures=[picture(evil, 0.5)], segmented=[picture(evil)], commands=[evil])
    page = Page(text)
    assert not page.all("script")
    assert any(image["alt"] == evil for image in page.all("img"))


def test_every_image_has_an_alternative_text(tmp_path: Path) -> None:
    page = Page(report(tmp_path, pictures=[picture("a.jpg", 0.9)], segmented=[picture("b.jpg")]))
    alts = [image["alt"] for image in page.all("img")]
    assert alts == [
        "a.jpg",
        "a.jpg with the outline of the reference",
        "a.jpg with the outline of the prediction",
        "b.jpg",
        "b.jpg with the outline of the prediction",
    ]
    assert all(chart["aria-label"] for chart in page.all("svg"))


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_small_and_show_the_outline(tmp_path: Path, channels: int) -> None:
    big = picture("a.png", size=(300, 900), channels=channels)
    big.prediction[100:200, 300:600] = 1
    plain, outlined = Page(report(tmp_path, segmented=[big])).all("img")
    assert (plain["width"], plain["height"]) == ("320", "107")
    assert decoded(outlined).shape == (107, 320, 3)
    difference = np.abs(decoded(plain) - decoded(outlined)).sum(axis=-1) > 60
    assert difference[36, 160]
    assert not difference[53, 160]


def test_curves_show_what_the_history_holds(tmp_path: Path) -> None:
    labels = [chart["aria-label"] for chart in Page(report(tmp_path)).all("svg")]
    assert labels == [
        "Training loss by epoch, at the end: loss 0.5",
        "Validation by epoch, at the end: Mean Dice 0.8, Mean IoU 0.7",
        "Learning rate by epoch, at the end: learning rate 0.001",
    ]


def test_training_without_validation_gets_no_curve_of_it(tmp_path: Path) -> None:
    assert "Validation by epoch" not in report(tmp_path, history="epoch,loss,val_mean_dice\n1,0.9,\n2,0.8,\n")


def test_row_cut_short_is_left_out(tmp_path: Path) -> None:
    assert "loss 0.9" in report(tmp_path, history="epoch,loss\n1,0.9\n2")


@pytest.mark.parametrize("history", ["", "epoch,loss\n"])
def test_history_without_epochs_gives_no_curves(tmp_path: Path, history: str) -> None:
    assert "<svg" not in report(tmp_path, history=history)


def test_same_input_gives_the_same_curves(tmp_path: Path) -> None:
    one, other = (re.findall("<svg.*?</svg>", report(tmp_path), re.DOTALL) for _ in range(2))
    assert len(one) == 3
    assert one == other


def test_curves_take_the_colour_of_the_page(tmp_path: Path) -> None:
    chart = re.findall("<svg.*?</svg>", report(tmp_path), re.DOTALL)[0]
    assert "currentColor" in chart
    assert "#000000" not in chart


def test_picked_examples_are_the_extremes_and_the_middle() -> None:
    scores = [0.5, 0.9, 0.1, 0.7, 0.3, 0.8, 0.2, 0.6, 0.4]
    assert pick_examples(scores) == [
        (2, "worst"),
        (6, "worst"),
        (8, "median"),
        (0, "median"),
        (5, "best"),
        (1, "best"),
    ]


@pytest.mark.parametrize("count", range(10))
def test_no_example_is_picked_twice(count: int) -> None:
    indices = [index for index, _ in pick_examples([0.1 * i for i in range(count)])]
    assert indices == sorted(set(indices))
    assert len(indices) == min(count, 6)


def test_picking_from_the_picked_picks_the_same() -> None:
    scores = [None, *np.random.default_rng(0).random(20).tolist()]
    first = pick_examples(scores)
    again = pick_examples([scores[index] for index, _ in first])
    assert [rank for _, rank in again] == [rank for _, rank in first]
    assert [index for index, _ in again] == list(range(6))
