from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from structured_pictures import STRUCTURES as STRUCTURES_OF_PICTURES
from structured_pictures import make_structures

from delineate.pipelines.bundling.bundles import change_bundle, new_bundle
from delineate.pipelines.comparison.table import (
    COLUMNS,
    TITLES,
    _batches,
    best_first,
    bundle_hash,
    cells,
    finished,
    latency_ms,
    settle_terms,
    write_table,
)
from delineate.pipelines.core.errors import DelineateError

TERMS: dict[str, Any] = {
    "bundle": "skin_lesion", "networks": ["unet", "se_unet"], "minutes": 3.0, "loss": None,
    "settings": {"image_size": [61, 47]},
}  # fmt: skip


def row(network: str, dice: float, **more: Any) -> dict[str, Any]:
    numbers = {"parameters": 1234, "macs": 56789, "dice_low": dice - 0.1, "dice_high": dice + 0.1, "iou": dice / 2}
    facts = {"latency_ms": 3.3, "epochs": 5, "steps": 35, "training_minutes": 2.9, "precision": "float32"}
    facts |= {"images": 33, "refused": 0, "seed": 0, "device": "a CPU", "threads": 2}
    return {"network": network, "dice": dice, **numbers, **facts, **more}


def table(out: Path) -> list[dict[str, str]]:
    with (out / "compare.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_terms_are_written_before_anything_is_trained(tmp_path: Path) -> None:
    settle_terms(tmp_path / "out", TERMS, resume=False)
    assert json.loads((tmp_path / "out/compare.json").read_text()) == TERMS


def test_a_comparison_is_resumed_on_its_terms(tmp_path: Path) -> None:
    settle_terms(tmp_path / "out", TERMS, resume=False)
    settle_terms(tmp_path / "out", TERMS, resume=True)
    assert json.loads((tmp_path / "out/compare.json").read_text()) == TERMS


def test_of_one_group_there_is_no_interval(tmp_path: Path) -> None:
    write_table(tmp_path, [row("unet", 0.5, dice_low=None, dice_high=None)], {}, TERMS)
    assert (table(tmp_path)[0]["dice_low"], table(tmp_path)[0]["dice_high"]) == ("", "")
    assert "| 0.5000 | none: one group |" in (tmp_path / "compare.md").read_text()


@pytest.mark.parametrize(
    "change", [{"minutes": 4.0}, {"networks": ["unet"]}, {"loss": "bce"}, {"settings": {}}], ids=str
)
def test_other_terms_are_refused_by_name(tmp_path: Path, change: dict[str, Any]) -> None:
    settle_terms(tmp_path / "out", TERMS, resume=False)
    with pytest.raises(DelineateError, match=f"begun with other {next(iter(change))} "):
        settle_terms(tmp_path / "out", TERMS | change, resume=True)
    assert json.loads((tmp_path / "out/compare.json").read_text()) == TERMS


def test_what_was_never_begun_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match="leave out --resume"):
        settle_terms(tmp_path / "out", TERMS, resume=True)
    assert not (tmp_path / "out").exists()


def test_an_occupied_folder_is_refused(tmp_path: Path) -> None:
    settle_terms(tmp_path, TERMS, resume=False)
    with pytest.raises(DelineateError, match="there already"):
        settle_terms(tmp_path, TERMS, resume=False)


def test_a_changed_bundle_has_another_hash(tmp_path: Path) -> None:
    one, other = (new_bundle(tmp_path / name, "skin_lesion", name="same") for name in ("one", "other"))
    assert bundle_hash(one) == bundle_hash(other)
    change_bundle(other, {"learning_rate": 0.003})
    assert bundle_hash(one) != bundle_hash(other)


def test_a_run_without_a_row_is_not_finished(tmp_path: Path) -> None:
    assert finished(tmp_path) is None


def test_the_best_dice_comes_first_and_what_failed_last(tmp_path: Path) -> None:
    write_table(tmp_path, [row("a", 0.7), row("b", 0.8)], {"c": "out of memory"}, TERMS)
    assert [(r["network"], r["dice"], r["error"]) for r in table(tmp_path)] == [
        ("b", "0.8", ""), ("a", "0.7", ""), ("c", "", "out of memory"),
    ]  # fmt: skip
    assert tuple(table(tmp_path)[0]) == COLUMNS


STRUCTURES = {
    "heart": {"images": 9, "value": 0.8, "ci95": [0.75, 0.85]},
    "left lung": {"images": 0, "value": None, "ci95": None},
}


def test_each_structure_is_a_column_and_a_table_of_the_page(tmp_path: Path) -> None:
    write_table(tmp_path, [row("a", 0.7, structures=STRUCTURES)], {"c": "out of memory"}, TERMS)
    a, c = table(tmp_path)
    assert list(a)[6:9] == ["iou", "dice_heart", "dice_left_lung"]
    assert (a["dice_heart"], a["dice_left_lung"], c["dice_heart"]) == ("0.8", "", "")
    page = (tmp_path / "compare.md").read_text()
    assert "| network | heart | left lung |" in page
    assert "| a | 0.8000 (0.7500 - 0.8500) | undefined (undefined) |" in page


def test_the_page_tells_split_count_budget_and_policy(tmp_path: Path) -> None:
    write_table(tmp_path, [row("a", 0.7)], {"c": "out of memory"}, TERMS)
    page = (tmp_path / "compare.md").read_text()
    for fact in ("33 images of the split test", "3 minutes", "an empty prediction of an empty reference scores 1",
                 "seed 0", "image_size=[61, 47]", "| a | 1,234 | 56,789 | 0.7000 | 0.6000 - 0.8000 |",
                 "- c: out of memory"):  # fmt: skip
        assert fact in page


def test_the_page_tells_a_budget_of_epochs(tmp_path: Path) -> None:
    write_table(tmp_path, [row("a", 0.7)], {}, TERMS | {"minutes": None, "epochs": 20})
    page = (tmp_path / "compare.md").read_text()
    assert page.startswith("# Networks for skin_lesion, 20 epochs each")
    assert "Each is trained for 20 epochs, however long these take." in page
    assert "minutes is for" not in page


def test_the_page_counts_what_could_not_be_scored(tmp_path: Path) -> None:
    write_table(tmp_path, [row("a", 0.7, refused=2)], {}, TERMS)
    assert "up to 2 more could not be scored" in (tmp_path / "compare.md").read_text()


def test_nothing_but_failures_make_a_table_too(tmp_path: Path) -> None:
    write_table(tmp_path, [], {"c": "out of memory"}, TERMS)
    assert [r["network"] for r in table(tmp_path)] == ["c"]
    assert "- c: out of memory" in (tmp_path / "compare.md").read_text()


def test_a_row_has_a_cell_for_each_title() -> None:
    assert len(cells(row("a", 0.7, macs=None))) == len(TITLES)


def test_rows_of_one_dice_keep_their_order() -> None:
    assert [r["network"] for r in best_first([row("a", 0.5), row("b", 0.7), row("c", 0.5)])] == ["b", "a", "c"]


def test_latency_is_of_the_inferer_and_without_gradients() -> None:
    import torch

    seen = []

    class Fake:
        network = torch.nn.Conv2d(3, 1, 1)

        def inferer(self, image: torch.Tensor, network: torch.nn.Module) -> torch.Tensor:
            seen.append((tuple(image.shape), torch.is_grad_enabled()))
            return network(image)

    assert latency_ms(Fake(), torch.zeros(1, 3, 33, 47)) > 0  # type: ignore[arg-type]
    assert len(seen) >= 10
    assert set(seen) == {((1, 3, 33, 47), False)}


def test_the_batches_of_several_structures_are_counted(tmp_path: Path) -> None:
    data = make_structures(tmp_path / "data")
    assert _batches({"fold": None, "batch_size": 3, "structures": STRUCTURES_OF_PICTURES}, data) == 3
