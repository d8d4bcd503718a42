from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image
from tiny_evaluation import GHOST, HALF, PERFECT, Item, evaluator

from delineate.pipelines.core.errors import DelineateError, InputError, SkippedError
from delineate.pipelines.inference.handlers import MaskWriter, end_with_refused
from delineate.pipelines.loading.datasets import StreamDataset


def test_each_image_gets_a_mask_of_its_size(tmp_path: Path) -> None:
    data = [{**HALF, "name": "sub/half"}, {**PERFECT, "name": "perfect"}]
    evaluator(data, MaskWriter(tmp_path / "masks", probability=True)).run()
    found = {p.relative_to(tmp_path / "masks").as_posix(): np.array(Image.open(p)) for p in tmp_path.rglob("*.png")}
    assert found["sub/half_mask.png"].tolist() == [[255, 0, 0]]
    assert found["perfect_mask.png"].tolist() == [[255, 0], [0, 0]]
    assert found["perfect_probability.png"].tolist() == [[65535, 0], [0, 0]]
    assert len(found) == 4


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def written(data: Sequence[Item], folder: Path, refuse: Sequence[str] = ()) -> StreamDataset:
    """What a stock run of inference leaves of these items."""

    def read(one: Item) -> Item:
        if one["name"] in refuse:
            raise InputError(one["image"].meta["filename_or_obj"], "is empty (0 bytes)", "copy it again")
        return one

    stream = StreamDataset(data, read, lambda _: None)
    evaluator(stream, MaskWriter(folder, threshold=0.4, dataset=stream)).run()
    return stream


def test_masks_and_refusals_stand_in_one_table(tmp_path: Path) -> None:
    named = [{**one, "name": one["image"].meta["filename_or_obj"]} for one in (HALF, PERFECT, GHOST)]
    written(named, tmp_path, refuse=["half.png", "ghost.png"])
    assert [(Path(row["input"]).name, row["status"], row["mask"], row["threshold"]) for row in rows(tmp_path)] == [
        ("half.png", "refused", "", "0.4"),
        ("perfect.png", "segmented", "perfect.png_mask.png", "0.4"),
        ("ghost.png", "refused", "", "0.4"),
    ]


def test_where_all_is_refused_the_table_says_so_and_nothing_is_raised(tmp_path: Path) -> None:
    stream = written([{**HALF, "name": "half"}], tmp_path, refuse=["half"])
    assert [row["status"] for row in rows(tmp_path)] == ["refused"]
    with pytest.raises(SystemExit, match="1 input"):
        end_with_refused(stream)


def test_a_run_without_refusals_ends_well(tmp_path: Path) -> None:
    stream = written([{**HALF, "name": "half"}], tmp_path)
    stream.refused.append(SkippedError("a copy", "is a duplicate", "passed over"))
    end_with_refused(stream)


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    read: list[str] = []
    stream = StreamDataset([{**HALF, "name": "half"}], lambda one: read.append("x") or one)
    with pytest.raises(DelineateError, match="cannot be written"):
        evaluator(stream, MaskWriter(tmp_path / "out")).run()
    assert not read


def test_each_structure_has_a_mask_and_what_overlaps_no_label_map(tmp_path: Path) -> None:
    named = [{"name": "heart"}, {"name": "left lung"}]
    apart, alike = torch.tensor([[[1.0, 0]], [[0, 1.0]]]), torch.ones(2, 1, 2)
    data = [
        {"image": MetaTensor(pred, meta={"filename_or_obj": f"{name}.png"}), "label": pred, "name": name}
        for name, pred in (("alike", alike), ("apart", apart))
    ]
    for folder, label_map in (("masks", False), ("maps", True)):
        stream = StreamDataset(data, dict, lambda _: None)
        options = {"threshold": {"heart": 0.3}, "structures": named, "label_map": label_map, "dataset": stream}
        evaluator(stream, MaskWriter(tmp_path / folder, **options)).run()
        assert len(stream.refused) == label_map
    assert [(row["structure"], row["mask"], row["threshold"]) for row in rows(tmp_path / "masks")[:2]] == [
        ("heart", "alike_heart_mask.png", "0.3"),
        ("left lung", "alike_left_lung_mask.png", "0.5"),
    ]
    assert [(row["status"], row["mask"], row["value"]) for row in rows(tmp_path / "maps")] == [
        ("refused", "", ""),
        ("segmented", "apart_labels.png", "1"),
        ("segmented", "apart_labels.png", "2"),
    ]
    assert np.array(Image.open(tmp_path / "maps/apart_labels.png")).tolist() == [[1, 2]]
