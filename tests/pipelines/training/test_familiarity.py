from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_training import Build

from delineate.pipelines.bundling.familiarity import read_familiarity
from delineate.pipelines.bundling.verify.bundle import verify_bundle
from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.core.sums import check_sums
from delineate.pipelines.training.familiarity import learn_familiarity, spread

pytestmark = pytest.mark.filterwarnings("ignore:parsing config_file")


@pytest.fixture
def run(phantom_run: Path, tmp_path: Path) -> Path:
    """A copy to write into."""
    return Path(shutil.copytree(phantom_run, tmp_path / "run"))


def test_a_training_leaves_what_is_familiar_beside_its_weights(phantom_run: Path) -> None:
    (known,) = read_familiarity(phantom_run / "models")
    assert known.limit > 0
    assert check_sums(phantom_run / "models", ["familiarity.json"]) == []
    assert verify_bundle(phantom_run) == []


def test_the_command_learns_what_the_training_did(run: Path, phantom_run: Path, phantom_data: Path) -> None:
    (run / "models" / "familiarity.json").unlink()
    (run / "models" / "SHA256SUMS").write_text(
        "".join(
            line
            for line in (run / "models" / "SHA256SUMS").read_text().splitlines(keepends=True)
            if "familiarity" not in line
        )
    )
    path = learn_familiarity(run, phantom_data)
    assert path == run / "models" / "familiarity.json"
    assert path.read_bytes() == (phantom_run / "models" / "familiarity.json").read_bytes()
    assert verify_bundle(run) == []


def test_better_weights_put_away_what_was_familiar_to_those_before(build: Build, tmp_path: Path) -> None:
    training = build([0.5], 1)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "familiarity.json").write_text("{}")
    training.run()
    assert (tmp_path / "models" / "model.pt").is_file()
    assert not (tmp_path / "models" / "familiarity.json").exists()


def test_a_network_whose_features_are_unknown_is_refused(
    run: Path, phantom_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("delineate.pipelines.training.familiarity.telling_levels", lambda _: [])
    with pytest.raises(DelineateError, match="the features of a UltraLightUNet are not known here"):
        learn_familiarity(run, phantom_data)


@pytest.mark.parametrize(("images", "most"), [(0, 3), (2, 3), (3, 3), (10, 3), (1000, 7)])
def test_images_are_spread_over_the_list(images: int, most: int) -> None:
    places = spread(range(images), most)
    assert len(set(places)) == len(places) == min(images, most)
    assert all(0 <= place < images for place in places)
    assert np.ptp(np.diff(places, prepend=-1)) <= max(1, images) if places else True
