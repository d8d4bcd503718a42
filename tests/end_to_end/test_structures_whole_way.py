"""Several structures from the images to the masks: index, train, evaluate, segment, stock MONAI, verify."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import NO_PAGE, inside, stock, succeeded

pytestmark = pytest.mark.slow

SMALL = ("--set", "image_size=[32,32]", "--set", "max_epochs=2", "--set", "batch_size=4")
LIGHT = ("--network", "ultra_light_unet", "--set", "network_def::features=[16,16,32]")
DISC, CUP, BAND = np.s_[6:26, 8:34], np.s_[12:20, 14:24], np.s_[16:34, 20:44]


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def draw(source: Path, kind: str) -> tuple[str, ...]:
    """Ten images of two structures; how they are indexed."""
    rng = np.random.default_rng(0)
    for number in range(10):
        save(source / f"images/{number}.png", rng.integers(0, 256, (40, 48)))
        first, second = np.zeros((2, 40, 48))
        first[DISC] = 1
        second[CUP if kind in ("nested", "exclusive") else BAND] = 1
        if kind in ("nested", "exclusive"):
            save(source / f"masks/{number}.png", first + second)
            continue
        save(source / f"masks/disc/{number}.png", 255 * first)
        if kind == "overlapping" or number % 2:
            save(source / f"masks/cup/{number}.png", 255 * second)
    values = {"nested": ("disc=1,2", "cup=2"), "exclusive": ("disc=1", "cup=2")}.get(kind, ())
    return tuple(word for value in values for word in ("--structure", value))


@pytest.mark.parametrize("kind", ["overlapping", "nested", "exclusive", "partly annotated"])
def test_it_is_the_way_of_one_structure(tmp_path: Path, kind: str) -> None:
    def run(*words: str | Path) -> str:
        return succeeded(inside(*words, cwd=tmp_path)).stdout

    how = draw(tmp_path / "source", kind)
    exclusive = ("--exclusive",) if kind == "exclusive" else ()
    network = () if kind == "overlapping" else LIGHT  # the default one, once
    run("data", "index", "source", "--out", "data", "--no-near-duplicates", *how)
    run("bundle", "new", "b", "--structures", "cup,disc", "--channels", "grey", *exclusive, *SMALL, *network)
    run("train", "b", "--data", "data", "--out", "run")
    page = () if kind == "partly annotated" else NO_PAGE
    run("evaluate", "run", "--data", "data", "--out", "scores", "--split", "training", *page)
    run("segment", "run", "source/images", "--out", "ours", *(("--label-map",) if exclusive else ()))
    assert "passes" in run("bundle", "verify", "run")
    scores = json.loads((tmp_path / "scores/metrics.json").read_text())
    counts = {name: one["count"] for name, one in scores["structures"].items()}
    assert counts["disc"] == scores["count"]
    assert (counts["cup"] < scores["count"]) == (kind == "partly annotated")
    words = ("--config_file", "configs/inference.yaml", "--dataset_dir", tmp_path / "source/images")
    more = ("--output_dir", tmp_path / "stock", *(("--label_map", "True") if exclusive else ()))
    succeeded(stock("run", *words, *more, cwd=tmp_path / "run"))
    ours, stocks = (
        {path.name: path.read_bytes() for path in (tmp_path / out).glob("*.png")} for out in ("ours", "stock")
    )
    assert len(ours) == (10 if exclusive else 20)
    assert ours == stocks
