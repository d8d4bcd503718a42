from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from delineate.pipelines.bundling.bundles import shipped_bundles
from delineate.pipelines.bundling.update import update_bundle
from delineate.pipelines.bundling.verify import verify_bundle
from delineate.pipelines.core.errors import DelineateError

# as version 0.1.0 wrote them
OLD = {
    "delineate.pipelines.loading.ReadImaged": "delineate.pipelines.transforms.ReadImaged",
    "delineate.pipelines.loading.load_datalist": "delineate.pipelines.data.datasets.load_datalist",
    "delineate.pipelines.inference.MaskWriter": "delineate.pipelines.handlers.MaskWriter",
    "delineate.pipelines.core.keep_freed_memory": "delineate.pipelines.memory.keep_freed_memory",
}


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A bundle with names of an earlier version."""
    shutil.copytree(shipped_bundles()["skin_lesion"], tmp_path / "older")
    for path in (tmp_path / "older/configs").glob("*.yaml"):
        text = path.read_text()
        for now, before in OLD.items():
            text = text.replace(now, before)
        path.write_text(text)
    return tmp_path / "older"


def test_a_bundle_of_an_earlier_version_is_refused_with_the_command_that_updates_it(older: Path) -> None:
    assert any("delineate bundle update" in str(finding) for finding in verify_bundle(older))


def test_an_updated_bundle_is_what_is_built_today(older: Path) -> None:
    assert update_bundle(older) == {before: now for now, before in OLD.items()}
    assert not verify_bundle(older)
    for path in (older / "configs").glob("*.yaml"):
        assert path.read_bytes() == (shipped_bundles()["skin_lesion"] / "configs" / path.name).read_bytes()


def test_an_update_leaves_foreign_names_alone(older: Path) -> None:
    path = older / "configs/inference.yaml"
    path.write_text(path.read_text().replace("delineate.networks.UltraLightUNet", "delineate.networks.Unknown"))
    update_bundle(older)
    assert "delineate.networks.Unknown" in path.read_text()


def test_a_folder_without_workflows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match="is no bundle"):
        update_bundle(tmp_path)
