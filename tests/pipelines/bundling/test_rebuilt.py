from __future__ import annotations

from pathlib import Path

import pytest

from delineate.pipelines.bundling.bundles import change_bundle, copy_bundle, new_bundle
from delineate.pipelines.bundling.card_text import CARD, card_of, put_card
from delineate.pipelines.bundling.rebuilt import rebuild_bundle
from delineate.pipelines.core.errors import DelineateError

PARTS = ("skin_lesion", "ultra_light_unet", "dice_bce")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """With weights, as far as anybody looks here, and their card."""
    folder = new_bundle(tmp_path / "bundle", *PARTS)
    for name in ("models/model.pt", "logs/seen.json", str(CARD)):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    put_card(folder, "## Model card", "Terms of the data")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_weights_what_they_have_seen_and_their_card_stay(bundle: Path) -> None:
    before = files(bundle)
    (bundle / "configs" / "left.yaml").write_text("of an earlier version")
    change_bundle(bundle, {"max_epochs": 7})
    assert files(rebuild_bundle(bundle, *PARTS)) == before


@pytest.mark.parametrize("settings", [{"image_size": [64, 64]}, {"network_def::features": [4, 4, 4, 4, 8]}])
def test_a_configuration_that_the_weights_do_not_fit_changes_nothing(bundle: Path, settings: dict[str, object]) -> None:
    change_bundle(bundle, settings)
    before = files(bundle)
    with pytest.raises(DelineateError, match=r"the weights of .* were trained with"):
        rebuild_bundle(bundle, *PARTS)
    assert files(bundle) == before


def test_what_is_no_bundle_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DelineateError, match="no bundle to replace"):
        rebuild_bundle(tmp_path, *PARTS)


def test_a_copy_has_neither_weights_nor_their_card(bundle: Path, tmp_path: Path) -> None:
    plain = new_bundle(tmp_path / "plain", *PARTS, name="bundle")
    copy_bundle(bundle, tmp_path / "run")
    assert files(tmp_path / "run") == files(plain)


def test_a_card_takes_the_place_of_the_one_before(bundle: Path) -> None:
    put_card(bundle, "## Another card", "Other terms")
    assert [text.strip() for text in card_of(bundle) or ()] == ["## Another card", "Other terms"]
    assert (bundle / "docs" / "README.md").read_text().count("what follows is of the weights") == 1
