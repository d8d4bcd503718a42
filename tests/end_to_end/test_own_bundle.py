"""A bundle for a structure of one's own, from the first command to the last, and with stock MONAI."""

from __future__ import annotations

from pathlib import Path

import pytest
from processes import NO_PAGE, SMALL, inside, stock, succeeded

pytestmark = pytest.mark.slow

FEW = ("--set", "max_epochs=1", "--set", "network_def::features=[16,16,32]")
META = ("--meta_file", "configs/metadata.json")


def test_it_trains_is_scored_segments_is_exported_and_passes(dataset: Path, tmp_path: Path) -> None:
    image = dataset.parent / "phantoms" / "images" / "phantom_0001.jpg"

    def run(*words: str | Path) -> str:
        return succeeded(inside(*words, cwd=tmp_path)).stdout

    run("bundle", "new", "wound", "--structures", "wound", "--channels", "rgb", *SMALL, *FEW)
    schema = ("--filepath", "docs/meta_schema_20240725.json")
    succeeded(stock("verify_metadata", *META, *schema, cwd=tmp_path / "wound"))
    run("train", "wound", "--data", dataset, "--out", "run")
    run("evaluate", "run", "--data", dataset, "--out", "scores", *NO_PAGE)
    run("segment", "run", image, "--out", "ours")
    assert "logits differ from PyTorch's by at most" in run("export", "run", "--format", "onnx")
    assert "passes" in run("bundle", "verify", "run")
    words = ("--config_file", "configs/inference.yaml", "--dataset_dir", image, "--output_dir", tmp_path / "stocks")
    succeeded(stock("run", *words, cwd=tmp_path / "run"))
    ours, stocks = (tmp_path / folder / "phantom_0001_mask.png" for folder in ("ours", "stocks"))
    assert ours.read_bytes() == stocks.read_bytes()
