from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest
from scripts import script


def test_each_way_has_a_row_with_its_ratio_and_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "backends.csv"
    words = ["--networks", "ultra_light_unet", "--blocks", "1", "--side", "32", "--out", str(out), "--append"]
    monkeypatch.setattr(sys, "argv", ["backends.py", *words])
    backends = script("backends")
    monkeypatch.setattr(backends, "keep_freed_memory", lambda: None)  # of this process
    monkeypatch.setattr(backends.torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(backends, "write_onnx", lambda *_: None)
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    monkeypatch.setattr(backends, "peak_mb", lambda *_: 321.4)  # of another process
    backends.main()
    with out.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["way"] for row in rows][:2] == ["published", "torch float32"]
    assert float(rows[0]["ratio"]) == 1
    assert rows[0]["peak_mb"] == "321"
    assert all(float(row["ms"]) > 0 and row["flags"] for row in rows)
