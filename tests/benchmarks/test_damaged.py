from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest
from scripts import script


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is not known there")
def test_damaged_files_end_in_a_mask_of_the_right_size_or_a_refusal_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = script("damaged")
    monkeypatch.setattr(damaged, "_make_apart", damaged.make_bundles)
    words = ["--count", "66", "--seed", "3", "--keep", str(tmp_path / "keep"), "--out", str(tmp_path / "out.csv")]
    monkeypatch.setattr(sys, "argv", ["damaged.py", *words])
    with pytest.raises(SystemExit) as ended:
        damaged.main()
    assert ended.value.code == 0
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["files"]) for row in rows) == 66
    assert len({row["format"] for row in rows}) == 11
    assert sum(int(row["mask"]) for row in rows) > 5
    assert sum(int(row["refused"]) for row in rows) > 30
