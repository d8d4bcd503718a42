from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from delineate.networks.pretrained import has_imagenet
from delineate.pipelines.cli.audit import audit
from delineate.pipelines.core.errors import DelineateError

app = typer.Typer()
app.command()(audit)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """One picture, in training and in test."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    entries = []
    for name in ("a.png", "b.png"):
        Image.fromarray(pixels).save(tmp_path / name)
        entries.append({"image": name, "image_sha256": sha256(pixels.tobytes()).hexdigest()})
    datalist = {"name": "x", "training": entries[:1], "validation": [], "test": entries[1:]}
    (tmp_path / "datalist.json").write_text(json.dumps(datalist))
    return tmp_path


def test_problems_are_counted_and_told_and_the_exit_code_is_1(dataset: Path) -> None:
    result = CliRunner().invoke(app, [str(dataset)])
    assert result.exit_code == 1
    assert "leak\t1\t0\t0" in result.output
    assert "a.png | b.png: the same picture in training and test" in result.output
    assert str(dataset / "audit.html") in result.output


def test_what_to_do_about_open_problems_is_the_last_line(dataset: Path) -> None:
    last = CliRunner().invoke(app, [str(dataset)]).output.splitlines()[-1]
    accepting = f"delineate data audit {dataset} --accept ID --reason TEXT"
    assert last.startswith("3 problems are open: look at them in ")
    assert last.endswith(accepting)


def test_once_all_are_accepted_the_exit_code_is_0(dataset: Path) -> None:
    CliRunner().invoke(app, [str(dataset)])
    ids = [one["id"] for one in json.loads((dataset / "audit.json").read_text())["findings"]]
    words = [word for id_ in ids for word in ("--accept", id_)]
    result = CliRunner().invoke(app, [str(dataset), *words, "--reason", "a test"])
    assert result.exit_code == 0
    assert "leak\t0\t1\t0" in result.output


def test_accepting_without_a_reason_is_refused(dataset: Path) -> None:
    result = CliRunner().invoke(app, [str(dataset), "--accept", "leak-1"])
    assert isinstance(result.exception, DelineateError)
    assert not (dataset / "accepted.yaml").exists()


def test_features_without_the_weights_are_refused_with_the_remedy(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("delineate.networks.pretrained.has_imagenet", lambda variant: False)
    result = CliRunner().invoke(app, [str(dataset), "--features"])
    assert isinstance(result.exception, DelineateError)
    assert '[pretrained]"' in str(result.exception)


@pytest.mark.skipif(not has_imagenet(), reason='needs pip install "delineate[pretrained]"')
def test_what_is_to_be_called_again_seeks_by_features_again(dataset: Path) -> None:
    last = CliRunner().invoke(app, [str(dataset), "--features"]).output.splitlines()[-1]
    assert last.endswith(f"delineate data audit {dataset} --features --accept ID --reason TEXT")
