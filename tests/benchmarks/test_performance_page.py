from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from scripts import ROOT, script

performance_page = script("performance_page")
MADE_ON = {"threads": 2, "cpu": "Intel Xeon (amx_bf16)", "flags": "avx2 amx_bf16", "versions": "torch 2.13.0"}


def backends(**others: Any) -> list[dict[str, Any]]:
    figures = (("published", 402.37, 1.0), ("torch bfloat16", 82.76, 4.86))
    return [
        {"network": "unet", "way": way, "ms": ms, "ratio": ratio, **MADE_ON, **others} for way, ms, ratio in figures
    ]


def peers(ratio: float = 5.1) -> list[dict[str, Any]]:
    about = {"network": "unet", "parameters": 31_037_633, "gmacs": 48.167, "peak_mb": 871.2, **MADE_ON}
    ways = (("delineate", 80.1, 1.0), ("nnunetv2", 80.1 * ratio, ratio))
    return [
        {**about, "what": what, "way": way, "images": 24, "ms": ms, "ratio": each, "same_pixels": 0.9952}
        for what in ("image", "files")
        for way, ms, each in ways
    ]


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_the_page_is_what_the_script_writes() -> None:
    assert (ROOT / "docs" / "performance.md").read_text(encoding="utf-8") == performance_page.page(), "run make docs"


def test_the_page_shows_the_pictures_that_are_there() -> None:
    text = performance_page.PAGE.read_text(encoding="utf-8")
    pictures = [part.split(")")[0] for part in text.split("](images/")[1:]]
    there = [path.name for path in performance_page.IMAGES.glob("performance_*.png")]
    assert sorted(there) == sorted(pictures), "run make docs"


def test_what_is_not_measured_is_said(tmp_path: Path) -> None:
    text = performance_page.page(tmp_path)
    assert text.count("Not measured yet") == 3
    assert "![" not in text


def test_each_way_has_its_time_ratio_and_memory(tmp_path: Path) -> None:
    write(tmp_path / "backends.csv", backends(peak_mb=640))
    text = performance_page.page(tmp_path)
    assert "| `torch bfloat16` | 82.8 (4.9x) |" in text
    assert "| `torch bfloat16` | 640 |" in text
    assert "Intel Xeon (amx_bf16), 2 threads; flags: avx2 amx_bf16; torch 2.13.0." in text


def test_memory_that_was_not_measured_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "backends.csv", backends())
    assert "The most memory" not in performance_page.page(tmp_path)


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (5.1, "No peer was faster than `delineate` with the same network."),
        (0.8, "Faster than `delineate` with the same network: `nnunetv2` with U-Net, image (0.80)"),
    ],
)
def test_a_peer_that_is_faster_is_named(ratio: float, said: str, tmp_path: Path) -> None:
    write(tmp_path / "peers.csv", peers(ratio))
    text = performance_page.page(tmp_path)
    assert said in text
    assert (
        f"| U-Net | 31.0 M | 48.2 G | nnunetv2 | {80.1 * ratio:.{0 if ratio > 2 else 1}f} | {ratio:.2f} | 871 |" in text
    )
    assert "agree in at least 99.5 % of pixels" in text


def test_each_network_beside_the_peers_has_a_name_on_the_page() -> None:
    assert {name for group in script("peers").GROUPS for name in group} <= set(performance_page.NAMES)


def test_the_archive_has_its_ratio(tmp_path: Path) -> None:
    made = {"bundle": "skin_lesion", "images": 200, "size": "1022x767", "rss_mb": 772, **MADE_ON}
    write(tmp_path / "archive.csv", [{"way": "segment", "seconds": 9.69, "images_s": 20.6, "ratio": 2.494, **made}])
    assert "| `segment` | 9.69 | 20.6 | 2.49 |" in performance_page.page(tmp_path)


def test_pictures_are_drawn_from_the_rows(tmp_path: Path) -> None:
    write(tmp_path / "backends.csv", backends())
    write(tmp_path / "peers.csv", peers())
    performance_page.draw_backends(performance_page.read_table(tmp_path / "backends.csv"), tmp_path / "a.png")
    performance_page.draw_peers(performance_page.read_table(tmp_path / "peers.csv")[:2], tmp_path / "b.png")
    for name in ("a.png", "b.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.width > 800
