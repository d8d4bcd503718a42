from __future__ import annotations

import csv
from pathlib import Path

import pytest

from delineate.pipelines.core.errors import DelineateError, InputError, UnknownNameError
from delineate.pipelines.datasets.datalist import Datalist
from delineate.pipelines.evaluation.columns import Columns
from delineate.pipelines.imaging.item import Item

BUSBRA = Path(__file__).resolve().parents[4] / "shared/data/BUSBRA"


def items(folder: Path, *names: str) -> list[Item]:
    return [
        Item.of(
            folder / name, folder / "mask.png", group=f"p{index}", class_name="ab"[index % 2], more={"device": "GE"}
        )
        for index, name in enumerate(names)
    ]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    Datalist(folder=tmp_path, lists={"test": items(tmp_path / "images", "x1.png", "x2.png", "sub/x3.png")}).write()
    return tmp_path


def table(folder: Path, *lines: str) -> Path:
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def found(dataset: Path, subgroups: str, file: Path | None = None) -> list[dict[str, str | None]]:
    columns = Columns(dataset, subgroups, file)
    return [columns.of(item, {}) for item in Datalist.read(dataset).part("test")]


def test_fields_of_the_data_list_are_columns(dataset: Path) -> None:
    assert found(dataset, "class, device,size") == [{"class": c, "device": "GE"} for c in "aba"]


@pytest.mark.parametrize("names", [("x1", "x2", "x3"), ("x1.png", "x2.png", "x3.png"), ("x1", "x2", "sub/x3.png")])
def test_a_table_is_joined_by_file_names_with_or_without_suffix(dataset: Path, names: tuple[str, ...]) -> None:
    rows = [
        f"{number},{name},{site}" for number, (name, site) in enumerate(zip(names, ("Oslo", "", "Bern"), strict=True))
    ]
    file = table(dataset, "number,ID,Site", *rows, "9,x9,Rome")
    assert found(dataset, "Site", file) == [{"Site": "Oslo"}, {"Site": None}, {"Site": "Bern"}]


def test_a_column_of_the_table_goes_before_that_of_the_data_list(dataset: Path) -> None:
    assert found(dataset, "device", table(dataset, "image,device", "x1,Philips"))[:2] == [
        {"device": "Philips"},
        {"device": "GE"},
    ]


def test_images_without_a_row_are_kept_in_mind(dataset: Path) -> None:
    columns = Columns(dataset, "site", table(dataset, "image,site", "x1,Oslo"))
    assert [columns.of(item, {})["site"] for item in Datalist.read(dataset).part("test")] == ["Oslo", None, None]
    assert columns.missing == ["x2.png", "x3.png"]


def test_an_unknown_column_is_answered_with_those_there_are(dataset: Path) -> None:
    with pytest.raises(UnknownNameError, match="device"):
        Columns(dataset, "devise")


def test_a_table_without_subgroups_says_which_columns_it_has(dataset: Path) -> None:
    with pytest.raises(DelineateError, match="name some with --subgroups, it has image, site"):
        Columns(dataset, None, table(dataset, "image,site", "x1,Oslo"))


def test_a_table_of_other_images_is_refused(dataset: Path) -> None:
    with pytest.raises(InputError, match=r"has no column with the images' file names, e\.g\. x1\.png"):
        Columns(dataset, "site", table(dataset, "image,site", "y1,Oslo"))


def test_two_rows_for_an_image_are_refused(dataset: Path) -> None:
    with pytest.raises(InputError, match=r"has the rows 2, 4 for x1\.png; leave one of them"):
        Columns(dataset, "site", table(dataset, "image,site", "x1,Oslo", "x2,Bern", "x1,Rome"))


def test_a_row_for_two_images_is_refused_unless_it_names_their_folder(tmp_path: Path) -> None:
    Datalist(folder=tmp_path, lists={"test": items(tmp_path, "a/1.png", "b/1.png")}).write()
    with pytest.raises(InputError, match=r"row 2 is of both .*; write folders into the column image"):
        Columns(tmp_path, "site", table(tmp_path, "image,site", "1.png,Oslo"))
    named = table(tmp_path, "image,site", "a/1.png,Oslo", "b/1.png,Bern")
    assert found(tmp_path, "site", named) == [{"site": "Oslo"}, {"site": "Bern"}]


def test_a_column_of_measurements_is_refused_before_anything_is_scored(tmp_path: Path) -> None:
    Datalist(folder=tmp_path, lists={"test": items(tmp_path, *(f"{n}.png" for n in range(60)))}).write()
    with pytest.raises(DelineateError, match="age has 60 values; subgroups are of 50 at most: write ranges"):
        Columns(tmp_path, "age", table(tmp_path, "image,age", *(f"{n},{n}.5" for n in range(60))))


@pytest.mark.skipif(not BUSBRA.is_dir(), reason="needs BUS-BRA in ../shared/data")
def test_the_table_of_busbra_gives_device_and_histology(tmp_path: Path) -> None:
    with (BUSBRA / "bus_data.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:30]
    images = [Item.of(BUSBRA / "Images" / f"{row['ID']}.png", BUSBRA / "x.png", group=row["Case"]) for row in rows]
    Datalist(folder=tmp_path, lists={"test": images}).write()
    columns = Columns(tmp_path, "Device,Histology,BIRADS", BUSBRA / "bus_data.csv")
    assert [columns.of(item, {}) for item in images] == [
        {name: row[name] for name in ("Device", "Histology", "BIRADS")} for row in rows
    ]
    assert columns.missing == []
