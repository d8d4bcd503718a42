"""The page of an evaluation, as text and as files; how it looks and works in a browser is in ``test_browser.py``."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_evaluation import CHEST, made_evaluation
from PIL import Image

from delineate.pipelines.evaluation.evaluation import merge, read_evaluation, write_evaluation
from delineate.pipelines.evaluation.metrics import METRICS
from delineate.pipelines.evaluation.page import write_page
from delineate.pipelines.evaluation.scored import Evaluation
from delineate.pipelines.evaluation.summary import summarise
from delineate.pipelines.evaluation.text import failure_line, outcome_line, report_text
from delineate.pipelines.imaging.structures import Structure

FEW = ("mean_dice",)  # scores of a page whose charts are not looked at


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def ids(self) -> list[str | None]:
        return [attrs["id"] for _, attrs in self.tags if "id" in attrs]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an evaluation of 16 images."""
    folder = tmp_path_factory.mktemp("evaluation")
    write_evaluation(made_evaluation(folder / "images", 16), folder)
    return folder


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of two structures."""
    folder = tmp_path_factory.mktemp("chest")
    write_evaluation(made_evaluation(folder / "images", 6, CHEST), folder)
    return folder


@pytest.fixture
def page(written: Path) -> Page:
    return Page(written / "report.html")


def test_nothing_is_loaded_from_elsewhere(page: Page) -> None:
    sources = [attrs[key] or "" for tag, attrs in page.tags for key in ("src", "xlink:href") if key in attrs]
    links = [attrs["href"] or "" for tag, attrs in page.tags if tag == "a"]
    assert len(sources) >= 12
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert all(link.startswith(("#", "https://doi.org/")) for link in links)
    assert not {"link", "iframe", "object"} & {tag for tag, _ in page.tags}


def test_every_link_within_the_page_has_its_place_and_no_id_is_used_twice(page: Page) -> None:
    ids = page.ids()
    links = [attrs["href"] or "" for tag, attrs in page.tags if tag == "a"]
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert len(ids) == len(set(ids))


def test_the_worst_images_come_first_and_lead_to_their_rows(page: Page) -> None:
    order = [attrs.get("id") for tag, attrs in page.tags if tag == "section"]
    assert order[:3] == ["scores", "failures", "distributions"]
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a" and (attrs["href"] or "").startswith("#image-")]
    assert len(links) == 12
    assert links[:2] == ["#image-1", "#image-2"]
    assert "12 images with the lowest Dice" in page.text


def test_every_image_has_a_row(page: Page) -> None:
    assert {f"image-{number}" for number in range(1, 17)} <= set(page.ids())


def test_nothing_is_nan(written: Path, chest: Path) -> None:
    for folder in (written, chest):
        assert not re.search(r"\b(nan|None|inf)\b", Page(folder / "report.html").text, re.I)


def test_what_is_not_defined_is_a_dash_with_its_reason(page: Page) -> None:
    titles = f"{METRICS['hd95_mm'].title}, mm; {METRICS['nsd_mm'].title}"
    assert f"–: {titles}, because the files do not say how large a pixel is." in page.text  # noqa: RUF001


def test_outcomes_of_images_are_told_in_words(page: Page) -> None:
    words = ("found: 13", "missed (empty prediction): 1", "false alarms (empty reference): 1", "rightly empty: 1")
    assert [one for one in words if one not in page.text] == []


def test_the_page_says_of_failures_and_outcomes_what_the_terminal_says(written: Path, page: Page) -> None:
    metrics = json.loads((written / "metrics.json").read_text())
    lines = [*map(failure_line, metrics["failures"]), outcome_line(metrics["images"])]
    assert len(lines) == 3
    assert [line for line in lines if f"{line}." not in page.text] == []


def test_one_image_is_not_called_images(tmp_path: Path) -> None:
    write_evaluation(made_evaluation(tmp_path / "images", 1, scores=FEW), tmp_path)
    text = Page(tmp_path / "report.html").text
    assert "The 1 image of 1 group (" in text
    assert "the 1 image with the lowest Dice" in text


def test_images_with_a_spacing_have_their_surface_dice_in_mm_first(tmp_path: Path) -> None:
    write_evaluation(made_evaluation(tmp_path / "images", 4, spacing=(0.5, 0.5)), tmp_path)
    first = Page(tmp_path / "report.html").text.split("Failures first")[0]
    assert METRICS["nsd_mm"].title in first
    assert METRICS["nsd_2_percent"].title not in first.split("Scores", 1)[1]


def test_sizes_say_which_they_are(written: Path, page: Page) -> None:
    sizes = json.loads((written / "metrics.json").read_text())["subgroups"]["size"]
    low, high = (100 * bound for bound in sizes["medium"]["share"])
    assert f"medium ({low:.2f} to {high:.2f} % of the image)" in page.text


def test_the_folds_of_a_cross_validation_are_a_table(tmp_path: Path, page: Page) -> None:
    folds = [{"fold": fold, "seed": 7, "count": 2 + fold, "mean_dice": 0.8125 - fold / 4} for fold in (0, 1)]
    known = {"of": "skin", "folds": 2, "seeds": [7], "of_each": folds}
    metrics = write_evaluation(made_evaluation(tmp_path / "images", 4, scores=FEW, cross_validation=known), tmp_path)
    assert "seed fold images Mean Dice 7 0 2 0.8125 7 1 3 0.5625" in Page(tmp_path / "report.html").text
    assert "7        0       2  0.8125\n7        1       3  0.5625" in report_text(metrics)
    assert "Each fold" not in page.text


def test_names_and_sentences_are_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    evaluation = made_evaluation(tmp_path / "images", 4, scores=FEW, refused=[evil])
    evaluation.rows[0] |= {"image": f"/a/{evil}.png", "group": evil, "class": evil}
    metrics = summarise(evaluation)
    text = write_page(tmp_path, evaluation, metrics | {"protocol": evil}).read_text(encoding="utf-8")
    assert text.count("<script>") == 1
    assert "alert(1)" in text


def test_a_picture_shows_what_was_missed_in_red_and_what_was_made_up_in_blue(written: Path) -> None:
    missed, false = (np.asarray(Image.open(written / "figures" / f"worst_0{rank}.png"), int) for rank in (1, 2))
    assert max(missed.shape) <= 640
    red, blue = ((picture[..., 0] - picture[..., 2]) for picture in (missed, false))
    assert (red > 60).mean() > 0.05
    assert (blue < -60).mean() > 0.05


def test_the_figures_can_be_printed(written: Path) -> None:
    names = {path.name for path in (written / "figures").iterdir()}
    assert {"distributions.png", "confusion_pixels.png", "confusion_images.png", "dice_by_size.png"} <= names
    for name in ("distributions.png", "precision_recall.png"):
        with Image.open(written / "figures" / name) as figure:
            assert round(figure.info["dpi"][0]) == 300
            assert figure.width >= 1000


def test_each_structure_has_its_charts_and_its_scores(chest: Path) -> None:
    names = {path.name for path in (chest / "figures").iterdir()}
    assert {"dice_by_size_heart.png", "dice_by_size_left_lung.png", "confusion_pixels_left_lung.png"} <= names
    text = Page(chest / "report.html").text
    assert "mean over structures" in text
    assert "in the colour of each structure" in text
    assert "missed: heart, left lung" in text


def test_figures_of_an_earlier_evaluation_go_and_those_of_others_stay(tmp_path: Path) -> None:
    figures = tmp_path / "figures"
    figures.mkdir()
    for name in ("worst_12.png", "confusion_pixels_spleen.png", "mine.png"):
        (figures / name).write_bytes(b"")
    write_evaluation(made_evaluation(tmp_path / "images", 4, scores=FEW), tmp_path)
    names = {path.name for path in figures.iterdir()}
    assert "mine.png" in names
    assert not {"worst_12.png", "confusion_pixels_spleen.png"} & names


def test_an_evaluation_that_was_read_again_and_merged_has_the_pictures(written: Path, tmp_path: Path) -> None:
    once = read_evaluation(written)
    write_evaluation(merge([once, once]), tmp_path)
    pictures = [(folder / "figures" / "worst_01.png").read_bytes() for folder in (written, tmp_path)]
    assert pictures[0] == pictures[1]
    assert "32 images" in Page(tmp_path / "report.html").text


def test_the_learning_curves_of_the_run_are_shown(tmp_path: Path) -> None:
    logs = tmp_path / "run" / "logs"
    logs.mkdir(parents=True)
    (logs / "history.csv").write_text("epoch,loss,val_mean_dice\n1,0.9,0.4\n2,0.5,0.8\n")
    bundle = {"path": str(tmp_path / "run"), "name": "run"}
    write_evaluation(made_evaluation(tmp_path / "images", 4, scores=FEW, bundle=bundle), tmp_path)
    labels = [attrs.get("aria-label") or "" for tag, attrs in Page(tmp_path / "report.html").tags if tag == "svg"]
    assert "Training loss by epoch, at the end: loss 0.5" in labels
    assert (tmp_path / "figures" / "learning_validation.png").is_file()


def test_an_evaluation_without_any_annotation_has_a_page(tmp_path: Path) -> None:
    evaluation = made_evaluation(tmp_path / "images", 2)
    rows: list[dict[str, Any]] = [{"image": row["image"], "pixels": row["pixels"]} for row in evaluation.rows]
    bare = Evaluation(rows=rows, metrics=evaluation.metrics)
    text = Page(write_page(tmp_path, bare, json.loads(json.dumps(summarise(bare))))).text
    assert "No image could be scored" in text


def test_a_merged_evaluation_keeps_the_structures_own_colours(tmp_path: Path) -> None:
    structures = (Structure("heart", colour=(1, 2, 3)), Structure("left lung"))
    write_evaluation(made_evaluation(tmp_path / "images", 4, structures, scores=FEW), tmp_path / "once")
    once = read_evaluation(tmp_path / "once")
    assert [one.colour for one in once.structures] == [(1, 2, 3), None]
    write_evaluation(merge([once]), tmp_path / "merged")
    pages = [(tmp_path / name / "report.html").read_text() for name in ("once", "merged")]
    legends = [re.findall(r'<li><i style="background: (.*?)">', text) for text in pages]
    assert legends[0] == legends[1]
    assert legends[0][0] == "rgb(1, 2, 3)"
