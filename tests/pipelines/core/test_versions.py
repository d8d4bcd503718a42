from __future__ import annotations

import re
import subprocess
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch

from delineate.pipelines.core import versions as module
from delineate.pipelines.core.versions import commit, version_of, versions


def checkout(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pretend that Delineate runs from a git checkout at ``root``."""
    (root / "pipelines/core").mkdir(parents=True)
    (root / "pipelines/core/versions.py").write_text("")
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    monkeypatch.setattr(module, "__file__", str(root / "pipelines/core/versions.py"))
    return root


def test_versions_name_what_figures_depend_on() -> None:
    found = versions()
    assert found["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert {"python", "platform", "delineate", "monai", "numpy"} <= found.keys()


def test_a_package_that_is_not_installed_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(module, "version", missing)
    assert version_of.__wrapped__("torch") == "not installed"


def test_the_commit_of_a_checkout_is_its_full_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout(tmp_path, monkeypatch)
    assert re.fullmatch("[0-9a-f]{40}", commit() or "")


def test_a_tag_does_not_hide_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "-C", str(checkout(tmp_path, monkeypatch)), "tag", "v1"], check=True)
    assert re.fullmatch("[0-9a-f]{40}", commit() or "")


def test_changes_make_a_commit_dirty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout(tmp_path, monkeypatch) / "pipelines/core/versions.py").write_text("# changed")
    assert (commit() or "").endswith("-dirty")


def test_an_installed_package_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "__file__", str(tmp_path / "delineate/pipelines/core/versions.py"))
    assert commit() is None


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout(tmp_path, monkeypatch)
    monkeypatch.setenv("PATH", "")
    assert commit() is None
