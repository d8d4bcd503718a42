from __future__ import annotations

import csv
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from data_lists import known
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from delineate.pipelines.core.errors import InputError, NotedError
from delineate.pipelines.datasets.layouts import explain, table
from delineate.pipelines.imaging.item import Drawn


@pytest.fixture
def folder(tmp_path: Path, touch: Any) -> Path:
    return touch(tmp_path, "a.png", "b.png", "p1/c d,e.png", "m/a.png", "m/a2.png", "m/b.png")


def reasons(folder: Path, text: str) -> list[str]:
    (folder / "t.csv").write_text(text)
    return [error.reason for error in table(folder / "t.csv")[1]]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_table_says_all_of_an_item(folder: Path, delimiter: str, encoding: str, ending: str) -> None:
    stream = StringIO()
    writer = csv.writer(stream, delimiter=delimiter, lineterminator=ending)
    writer.writerow(["Image", "label", "group", "split", "class"])
    writer.writerow(["a.png", "m/a.png;m/a2.png", "Jürgen", "train", "nevus"])
    writer.writerow(["p1/c d,e.png", "m/b.png", "P2", "val", ""])
    (folder / "t.csv").write_bytes(stream.getvalue().encode(encoding))
    (first, second), refused = table(folder)
    assert not refused
    assert (first.file, first.label) == (folder / "a.png", (folder / "m/a.png", folder / "m/a2.png"))
    assert (first.group, first.official, known(first)) == ("Jürgen", "training", {"class": "nevus"})
    assert second.file == folder / "p1/c d,e.png"
    assert (second.group, second.official, known(second)) == ("P2", "validation", {})


def test_without_group_an_image_is_its_own(folder: Path) -> None:
    (folder / "t.csv").write_text('image,label\na.png,m/a.png\n"p1/c d,e.png",m/b.png\n')
    assert [(item.group, item.official) for item in table(folder)[0]] == [("a", None), ("p1/c d,e", None)]


def test_a_row_without_label_is_unlabelled(folder: Path) -> None:
    (folder / "t.csv").write_text("image,label,split\na.png,,\nb.png,m/b.png,test\n")
    assert [(item.label, item.official) for item in table(folder)[0]] == [((), None), ((folder / "m/b.png",), "test")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("x.png,m/a.png,train", "row 3 has the image 'x.png', which is no file"),
        ("m,m/a.png,train", "row 3 has the image 'm', which is no file"),
        ("b.png,m/x.png,train", "row 3 has the label 'm/x.png', which is no file"),
        (f"b.png,{'x' * 5000},train", f"row 3 has the label '{'x' * 5000}', which is no file"),
        ("./a.png,m/b.png,train", "row 3 repeats the image of row 2"),
        ("b.png,m/b.png,dev", "row 3 has the split 'dev' (known are training, validation, test, train, val)"),
        ("b.png,m/b.png,", "row 3 has the split '' (known are training, validation, test, train, val)"),
        ("b.png,m/b.png,train,more", "row 3 has more cells than there are columns"),
    ],
)
def test_a_bad_row_is_refused_by_its_number_and_the_rest_goes_on(folder: Path, row: str, reason: str) -> None:
    text = f"image,label,split\na.png,m/a.png,train\n{row}\n"
    assert reasons(folder, text) == [reason]
    assert [item.file.name for item in table(folder)[0]] == ["a.png"]


def test_rows_count_as_in_a_spreadsheet(folder: Path) -> None:
    assert reasons(folder, "image,label\n\n,,\nx.png,m/a.png\n") == ["row 4 has the image 'x.png', which is no file"]


def test_columns_that_are_not_used_are_named_once(folder: Path) -> None:
    (folder / "t.csv").write_text("image,label,age,sex\na.png,m/a.png,50,f\nb.png,m/b.png,60,m\n")
    items, (remark,) = table(folder)
    assert len(items) == 2
    assert isinstance(remark, NotedError)
    assert remark.reason == "columns not used: age, sex"


def test_paths_of_windows_are_understood(folder: Path) -> None:
    (folder / "t.csv").write_text("image,label\na.png,m\\a.png\n")
    assert table(folder)[0][0].label == (folder / "m/a.png",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "has no column names"),
        (b"image,mask\n", "has no column label"),
        (b"image,label,Image\n", "one of them twice"),
        (b"image,label\n\xff.png,\n", "cannot be read as UTF-8"),
    ],
)
def test_a_table_that_cannot_be_understood_is_refused(folder: Path, content: bytes, reason: str) -> None:
    (folder / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=reason):
        table(folder)


@pytest.mark.parametrize("number", [0, 2])
def test_a_folder_without_exactly_one_table_is_refused(folder: Path, number: int) -> None:
    for i in range(number):
        (folder / f"{i}.csv").write_text("image,label\n")
    with pytest.raises(InputError, match=f"holds {number} CSV files"):
        table(folder)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=60))
def test_any_bytes_are_items_or_refusals(folder: Path, body: bytes) -> None:
    (folder / "t.csv").write_bytes(b"image,label,split\n" + body)
    with suppress(InputError):  # anything else fails the test
        assert all(item.file.is_file() for item in table(folder)[0])


def test_a_column_is_a_structure_empty_is_not_annotated_and_a_dash_is_none(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "h.png", "l.png"):
        (tmp_path / name).touch()
    (tmp_path / "t.csv").write_text("image,label:heart,label:left lung\na.png,h.png,-\nb.png,,l.png\n")
    first, second = table(tmp_path)[0]
    assert (first.label, first.structures) == ((tmp_path / "h.png",), {"heart": Drawn((0,)), "left lung": Drawn(())})
    assert (second.label, second.structures) == ((tmp_path / "l.png",), {"heart": None, "left lung": Drawn((0,))})
    assert explain(tmp_path)[1] == "t.csv has the columns image and label:heart, label:left lung"
