"""The CSVs of the benchmarks come back as they were written."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripts import script

tables = script("tables")


def test_rows_come_back(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    tables.write_table(path, [{"way": "plain, bare", "ms": 1.5}, {"way": "é", "note": "none"}])
    assert tables.read_table(path) == [
        {"way": "plain, bare", "ms": "1.5", "note": ""},
        {"way": "é", "ms": "", "note": "none"},
    ]


def test_a_table_that_is_missing_has_no_rows(tmp_path: Path) -> None:
    assert tables.read_table(tmp_path / "none.csv") == []


def test_what_was_there_stays_where_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    tables.write_table(path, [{"way": "first"}])
    with pytest.raises(AttributeError):
        tables.write_table(path, [{"way": "second"}, None], ["way"])
    assert tables.read_table(path) == [{"way": "first"}]
