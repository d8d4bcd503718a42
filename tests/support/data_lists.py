"""Data lists in the form of the file, with absolute paths: what tests write, change and look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from delineate.pipelines.datasets.datalist import Datalist
from delineate.pipelines.datasets.splitting.splits import Place
from delineate.pipelines.imaging.item import Item

NOWHERE = Path("/nowhere")
Fields = dict[str, Any]


def parsed(content: Mapping[str, Any]) -> Datalist:
    """A data list that lies nowhere."""
    return Datalist.from_json(NOWHERE, content)


def read_datalist(folder: Path) -> Fields:
    return replace(Datalist.read(folder), folder=NOWHERE).as_json()


def write_datalist(content: Mapping[str, Any], folder: Path) -> Path:
    return Datalist.from_json(folder, {key: value for key, value in content.items() if key != "format"}).write()


def placed(content: Mapping[str, Any] | Path) -> Iterator[tuple[Place, Fields]]:
    """The labelled items of a data list, or of that of a folder, with their places."""
    datalist = Datalist.read(content) if isinstance(content, Path) else parsed(content)
    return ((place, item.as_fields()) for place, item in datalist.labelled())


def straddling(content: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    return parsed(content).leaks()


def dataset_hash(content: Mapping[str, Any]) -> str:
    return parsed(content).hash


def known(item: Item) -> Fields:
    """What an item says besides its files and its group."""
    return {key: value for key, value in item.as_fields().items() if key not in ("image", "label", "group")}
