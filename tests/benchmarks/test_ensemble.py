from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest
from scripts import script


def test_each_network_has_a_row_of_ratios(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "ensemble.csv"
    words = ["--networks", "ultra_light_unet", "--rounds", "1", "--side", "32", "--out", str(out), "--append"]
    monkeypatch.setattr(sys, "argv", ["ensemble.py", *words])
    ensemble = script("ensemble")
    monkeypatch.setattr(ensemble, "keep_freed_memory", lambda: None)  # of this process
    monkeypatch.setattr(ensemble.torch, "set_num_threads", lambda _: None)
    ensemble.main()
    ensemble.main()
    with out.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["network"] for row in rows] == ["ultra_light_unet"] * 2
    assert all(float(row[name]) > 0 for row in rows for name in ("ensemble_ratio", "flips_ratio", "rotations_ratio"))
