from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle_parts import LOGGING

from delineate.pipelines.bundling.verify.files import check_files, check_logging
from delineate.pipelines.bundling.verify.findings import Finding
from delineate.pipelines.bundling.verify.listing import list_entries
from delineate.pipelines.core.pages import render_page

LISTS = ("scores", "legend", "curves", "judged", "segmented", "cases", "facts", "commands", "notes")
PAGE: dict[str, Any] = {"title": "A run", "date": "today", "count": 1, **{name: [] for name in LISTS}}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return a folder with one good file of each kind that needs a look inside."""
    write(tmp_path, "bundle/docs/README.md", "# a bundle")
    write(tmp_path, "bundle/configs/logging.conf", LOGGING)
    save(tmp_path / "bundle", torch.nn.Linear(2, 1).state_dict())
    return tmp_path / "bundle"


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def save(folder: Path, weights: object, **options: Any) -> Path:
    (folder / "models").mkdir(exist_ok=True)
    torch.save(weights, folder / "models/model.pt", **options)
    return folder / "models/model.pt"


def found(folder: Path) -> list[Finding]:
    entries = list_entries(folder)
    return [*check_files(entries), *check_logging(entries)]


def only(folder: Path) -> Finding:
    """Return the one finding there is."""
    findings = found(folder)
    assert len(findings) == 1, [str(finding) for finding in findings]
    return findings[0]


def test_a_page_that_forbids_other_scripts_passes_where_nothing_is_loaded_from(bundle: Path) -> None:
    page = render_page("report.html.jinja", PAGE)
    write(bundle, "evaluation/report.html", page)
    assert found(bundle) == []
    write(bundle, "configs/report.html", page)
    assert "a .html file can carry code" in str(only(bundle))


@pytest.mark.parametrize(
    "change", [("default-src 'none'", "default-src *"), ("<!doctype", "<script></script><!doctype")]
)
def test_a_page_that_allows_more_is_refused(bundle: Path, change: tuple[str, str]) -> None:
    write(bundle, "report.html", render_page("report.html.jinja", PAGE).replace(*change))
    assert "a .html file can carry code" in str(only(bundle))


def test_good_files_pass(bundle: Path) -> None:
    save(bundle, {"network": torch.nn.Linear(2, 1).state_dict(), "epoch": 3, "rng": torch.get_rng_state()})
    assert found(bundle) == []


@pytest.mark.parametrize(
    "name",
    [
        *(
            "scripts/train.py",
            "scripts/train.PY",
            "docs/x.ipynb",
            "run.sh",
            "lib.so",
            "data.pkl",
            "all.zip",
            "a.npy",
        ),
        *(
            "configs/extra.yml",
            "model.pt",
            "unknown",
            ".gitignore",
            "events.out.tfevents.py",
            "docs/page.html",
        ),
    ],
)
def test_a_file_that_does_not_belong_is_refused(bundle: Path, name: str) -> None:
    write(bundle, name, "x")
    assert (only(bundle).file, only(bundle).rule) == (name, "code")


def test_binary_content_under_a_text_name_is_refused(bundle: Path) -> None:
    (bundle / "docs/notes.txt").write_bytes(pickle.dumps({"a": 1}) + b"\0")
    assert "not plain text" in only(bundle).message


def test_a_symbolic_link_is_refused_and_not_followed(bundle: Path, tmp_path: Path) -> None:
    write(tmp_path, "elsewhere/evil.py", "x")
    (bundle / "docs/more").symlink_to(tmp_path / "elsewhere")
    assert only(bundle).message.startswith("a symbolic link")


def test_the_cache_of_a_training_is_refused_once(bundle: Path) -> None:
    for name in ("cache/a.pt", "cache/b.pt"):
        write(bundle, name, "x")
    assert "remove cache/" in only(bundle).message


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("never printed",))


def test_weights_that_would_run_code_are_refused(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(bundle, {"a": Evil()})
    assert "print" in only(bundle).message
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("protocol", [2, 4])
def test_weights_of_any_pickle_protocol_are_looked_into(bundle: Path, protocol: int) -> None:
    save(bundle, {"a": Evil()}, pickle_protocol=protocol)
    assert only(bundle).rule == "code"


def test_weights_in_the_old_format_are_refused(bundle: Path) -> None:
    save(bundle, {"a": 1}, _use_new_zipfile_serialization=False)
    assert "not a torch file in zip format" in only(bundle).message


def test_a_pickle_in_front_of_the_zip_is_refused(bundle: Path) -> None:
    path = bundle / "models/model.pt"
    path.write_bytes(pickle.dumps({"a": 1}) + path.read_bytes())
    assert "not a torch file in zip format" in only(bundle).message


def test_code_hidden_in_the_weights_archive_is_refused(bundle: Path) -> None:
    path = bundle / "models/model.pt"
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model/code/evil.py", "x")
    assert "evil.py" in only(bundle).message


def test_truncated_weights_are_refused(bundle: Path) -> None:
    path = bundle / "models/model.pt"
    path.write_bytes(path.read_bytes()[:200])
    assert "cannot be read" in only(bundle).message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("class=StreamHandler", "class=__import__('os').system"),
        ("class=StreamHandler", "class=eval"),
        ("class=StreamHandler", "class=logging.handlers.SMTPHandler"),
        ("args=(sys.stdout,)", "args=(__import__('os').system('true'),)"),
        ("args=(sys.stdout,)", "args=(sys.modules,)"),
        ("args=(sys.stdout,)", "args=('/etc/passwd',)"),
        ("args=(sys.stdout,)", "args=('../x.log',)"),
        ("args=(sys.stdout,)", "kwargs={'a': eval('1')}"),
        ("class=StreamHandler", "class: os.system"),
    ],
)
def test_a_logging_file_that_would_run_code_is_refused(bundle: Path, old: str, new: str) -> None:
    write(bundle, "configs/logging.conf", LOGGING.replace(old, new))
    line = 1 + LOGGING.splitlines().index(old)
    assert (only(bundle).line, only(bundle).rule) == (line, "code")


def test_code_in_the_defaults_of_a_logging_file_is_refused(bundle: Path) -> None:
    write(bundle, "configs/logging.conf", "[DEFAULT]\nargs=(eval('1'),)\n" + LOGGING)
    assert {finding.line for finding in found(bundle)} >= {2}
