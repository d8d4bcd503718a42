from __future__ import annotations

from email.message import Message
from pathlib import Path

import pytest

from delineate import installation
from delineate.installation import install

ROOT = Path(__file__).resolve().parents[1]


def test_in_its_clone_the_line_is_that_of_the_readme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert install("dicom") == 'pip install -c constraints.txt -e ".[dicom]"'
    assert install("dicom") in (ROOT / "README.md").read_text(encoding="utf-8")


def test_elsewhere_the_line_names_the_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = installation._ROOT
    assert install("onnx") == f'pip install -c {root}/constraints.txt -e "{root}[onnx]"'


@pytest.mark.parametrize(
    ("torch", "extra", "line"),
    [
        (True, "onnx", 'pip install "delineate[onnx]"'),
        (False, "dicom", 'pip install "delineate-runtime[dicom]"'),
        (False, "openvino", "pip install openvino"),
    ],
)
def test_beside_an_installed_wheel_it_is_the_wheels_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch: bool, extra: str, line: str
) -> None:
    told = Message()
    told["Provides-Extra"] = "dicom"
    monkeypatch.setattr(installation, "_ROOT", tmp_path)
    monkeypatch.setattr(installation, "has_torch", lambda: torch)
    monkeypatch.setattr(installation, "metadata", lambda name: told)
    assert install(extra) == line


def test_no_message_says_another_way_to_install_an_extra() -> None:
    said = [
        path.name
        for folder in ("networks", "pipelines")
        for path in (ROOT / folder).rglob("*.py")
        if any(words in path.read_text(encoding="utf-8") for words in ("delineate[", "constraints.txt"))
    ]
    assert said == []
