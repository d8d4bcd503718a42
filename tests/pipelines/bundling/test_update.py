from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from delineate.pipelines.bundling.bundles import shipped_bundles
from delineate.pipelines.bundling.settings import WORKFLOWS, refuse_unknown, workflow_config
from delineate.pipelines.bundling.update import update_bundle
from delineate.pipelines.bundling.verify import verify_bundle
from delineate.pipelines.core.errors import DelineateError, WrongValueError

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
    assert sorted(update_bundle(older)) == sorted(f"{before} -> {now}" for now, before in OLD.items())
    assert not verify_bundle(older)
    for path in (older / "configs").glob("*.yaml"):
        assert path.read_bytes() == (shipped_bundles()["skin_lesion"] / "configs" / path.name).read_bytes()


def test_an_update_leaves_foreign_names_alone(older: Path) -> None:
    path = older / "configs/inference.yaml"
    path.write_text(path.read_text().replace("delineate.networks.EfficientLiteUNet", "delineate.networks.Unknown"))
    update_bundle(older)
    assert "delineate.networks.Unknown" in path.read_text()


def test_a_folder_without_workflows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match="is no bundle"):
        update_bundle(tmp_path)


@pytest.fixture
def without_tta(tmp_path: Path) -> Path:
    """A bundle of before there was test-time augmentation."""
    shutil.copytree(shipped_bundles()["skin_lesion"], tmp_path / "before")
    for path in (tmp_path / "before/configs").glob("*.yaml"):
        text = re.sub(r"^(    )?tta:.*\n", "", path.read_text(), flags=re.MULTILINE)
        path.write_text(re.sub(r'(precision: "@precision"\n)(  .*: "@.*"\n)+(  inferer:)', r"\1\3", text))
    return tmp_path / "before"


def test_tta_is_added_where_it_is_not(without_tta: Path) -> None:
    assert update_bundle(without_tta) == ["tta: null is added to train, evaluate, inference"]
    assert not verify_bundle(without_tta)
    for name in WORKFLOWS:
        assert workflow_config(without_tta, name) == workflow_config(shipped_bundles()["skin_lesion"], name)
    assert update_bundle(without_tta) == []


def test_without_an_update_tta_is_refused_with_what_to_do(without_tta: Path) -> None:
    config = workflow_config(without_tta, "inference")
    with pytest.raises(WrongValueError, match="made before there was tta; 'delineate bundle update FOLDER' adds"):
        refuse_unknown(without_tta, config, "inference", ["tta"])
