"""The page of a comparison in a real browser, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browsers import browser as browser
from browsers import overhang
from judged_folders import dice, write_judged

from delineate.pipelines.comparison.paired import compare


@pytest.fixture(scope="module")
def page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The browser with the page of networks, and of images, with long names."""
    folder: Path = tmp_path_factory.mktemp("comparison")
    images = [f"/a_folder_with_a_very_long_name/and_another_one_that_is_longer/{index}.png" for index in range(30)]
    names = [f"a_network_whose_name_is_longer_than_a_narrow_window_is_wide_{seed}" for seed in (1, 2)]
    for seed, name in enumerate(names):
        write_judged(folder / name, {"mean_dice": dice(seed)}, images=images)
    compare([folder / name for name in names], out=folder / "out")
    browser.get((folder / "out/comparison.html").as_uri())
    return browser


@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_is_no_wider_than_the_window(page: Any, width: int) -> None:
    assert overhang(page, width) <= 0


def test_a_wide_window_shows_all_columns(page: Any) -> None:
    overhang(page, 1280)
    hidden = "return [...document.querySelectorAll('.wide')].map((one) => one.scrollWidth - one.clientWidth)"
    assert page.execute_script(hidden) == [0, 0]
