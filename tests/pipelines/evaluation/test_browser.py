"""The page of an evaluation in a real browser, without a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from browsers import browser as browser
from browsers import overhang
from made_evaluation import made_evaluation

from delineate.pipelines.evaluation.evaluation import write_evaluation


@pytest.fixture(scope="module")
def page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The browser with the page of an evaluation."""
    folder: Path = tmp_path_factory.mktemp("evaluation")
    write_evaluation(made_evaluation(folder / "images", 16), folder)
    browser.get((folder / "report.html").as_uri())
    return browser


def column(page: Any, heading: str) -> list[str]:
    """The cells below a heading of the table of all images."""
    script = """
        const heads = [...document.querySelectorAll("#images th")];
        const place = heads.findIndex((head) => head.textContent.trim() === arguments[0]);
        return [...document.querySelectorAll("#images tbody tr")].map((row) => row.cells[place].textContent);
    """
    cells: list[str] = page.execute_script(script, heading)
    return cells


def press(page: Any, heading: str) -> None:
    page.find_element("xpath", f"//section[@id='images']//button[normalize-space()='{heading}']").click()


def test_nothing_is_requested_and_nothing_complained_of(page: Any) -> None:
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    requests = [one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"]
    assert [url for url in requests if not url.startswith(("data:", "file:"))] == []
    assert len([url for url in requests if url.startswith("file:")]) == 1
    assert page.get_log("browser") == []


def test_every_image_is_shown(page: Any) -> None:
    widths = page.execute_script("return [...document.images].map((image) => image.naturalWidth)")
    assert len(widths) == 12
    assert all(widths)


def test_a_heading_sorts_the_table_up_and_down(page: Any) -> None:
    before = column(page, "Mean Dice")
    press(page, "Mean Dice")
    assert column(page, "Mean Dice") == sorted(before, key=float)
    press(page, "Mean Dice")
    assert column(page, "Mean Dice") == sorted(before, key=float, reverse=True)
    press(page, "outcome")
    assert column(page, "outcome") == sorted(column(page, "outcome"))


def test_a_worst_image_leads_to_its_row(page: Any) -> None:
    page.execute_script("document.querySelector('#failures figure a').click()")
    script = """
        const row = document.querySelector("tr:target");
        const done = arguments[0];
        requestAnimationFrame(() => {
            const box = row.getBoundingClientRect();
            done([row.cells[0].textContent, box.top >= 0 && box.bottom <= innerHeight]);
        });
    """
    assert page.execute_async_script(script) == ["phantom_0000.png", True]


@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_is_no_wider_than_the_window(page: Any, width: int) -> None:
    assert overhang(page, width) <= 0
