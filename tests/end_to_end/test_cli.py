from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import typer
from processes import EPOCHS, NO_PAGE, SMALL, call, delineate, inside, printed_line, refusal, stock, succeeded

from delineate.pipelines.bundling.bundles import change_bundle, shipped_bundles
from delineate.pipelines.cli import app

if TYPE_CHECKING:
    from conftest import Place


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield words
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*words, name))


@pytest.mark.parametrize("words", [*commands(typer.main.get_command(app))], ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    assert "Usage: " in succeeded(inside(*words, "--help")).stdout


def test_help_imports_neither_torch_nor_monai() -> None:
    code = "import sys; from delineate.pipelines.cli import app; app(['--help'], standalone_mode=False)"
    done = succeeded(call(sys.executable, "-c", f"{code}; print([m for m in ('torch', 'monai') if m in sys.modules])"))
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "close"),
    [
        (("train", "skin_lesoin", "--data", "DATA"), "'skin_lesion'"),
        (("train", "skin_lesion", "--data", "DATA", "--out", "x", "--network", "unett"), "'unet'"),
        (("train", "skin_lesion", "--data", "DATA", "--out", "x", "--loss", "dise"), "'dice'"),
        (("train", "skin_lesion", "--data", "DATA", "--out", "x", "--set", "max_epoch=3"), "'max_epochs'"),
        (("evaluate", "RUN", "--data", "DATA", "--out", "x", "--split", "tset"), "'test'"),
        (("evaluate", "skin-lesion", "--data", "DATA", "--out", "x"), "'skin_lesion'"),
        (("segment", "brest_lesion", "DATA", "--out", "x"), "'breast_lesion'"),
        (("data", "index", "DATA", "--out", "x", "--layout", "pared"), "'paired'"),
        (("bundle", "new", "x", "--task", "skin_leison"), "'skin_lesion'"),
        (("bundle", "verify", "skin_lesio"), "'skin_lesion'"),
    ],
    ids=str,
)
def test_an_unknown_name_is_answered_with_the_closest(
    words: tuple[str, ...], close: str, place: Place, tmp_path: Path
) -> None:
    known = {"DATA": str(place.dataset), "RUN": str(place.run)}
    message = refusal(inside(*(known.get(word, word) for word in words), cwd=tmp_path))
    assert f"did you mean {close}?" in message
    assert not list(tmp_path.iterdir()), "a refused command left something behind"


@pytest.mark.slow
def test_the_printed_line_of_train_trains_the_same_weights(place: Place, untrained: Path, tmp_path: Path) -> None:
    untrained.rename(tmp_path / "run")
    shutil.copytree(place.dataset, tmp_path / "dataset")
    succeeded(stock(*shlex.split(printed_line(place.training))[3:], cwd=tmp_path))
    trained, again = (torch.load(f / "run/models/model.pt", weights_only=True) for f in (place.folder, tmp_path))
    assert trained.keys() == again.keys()
    assert all(torch.equal(trained[name], again[name]) for name in trained)


@pytest.mark.slow
def test_the_printed_line_of_evaluate_gives_the_same_scores(place: Place, elsewhere: Path, tmp_path: Path) -> None:
    words = ("evaluate", "run", "--data", "dataset", "--out", tmp_path / "one", *NO_PAGE)
    done = succeeded(delineate(*words, cwd=place.folder))
    elsewhere.rename(tmp_path / "run")
    shutil.copytree(place.dataset, tmp_path / "dataset")
    line = printed_line(done).replace(str(tmp_path / "one"), "other")
    succeeded(stock(*shlex.split(line)[3:], cwd=tmp_path))
    one, other = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("one", "other"))
    ours, theirs = one.pop("bundle"), other.pop("bundle")
    assert ours["trusted"] is False
    assert "trusted" not in theirs  # stock MONAI asks nobody whether a bundle may be used
    assert (ours["name"], ours["hash"]) == (theirs["name"], theirs["hash"])
    assert one == other
    assert one["count"] == 3
    assert one["mean_dice"]["value"] > 0.5


@pytest.mark.slow
def test_the_printed_line_of_segment_writes_the_same_masks(place: Place, dataset: Path, tmp_path: Path) -> None:
    images = sorted((dataset.parent / "phantoms" / "images").iterdir())[:2]
    run = place.run
    done = succeeded(
        delineate("segment", run, *images, "--out", "one", "--threshold", "0.4", "--overlay", cwd=tmp_path)
    )
    line = printed_line(done).replace("--output_dir one", "--output_dir other")
    as_words = f"python() {{ printf '%s\\0' \"$@\"; }}; {line}"  # what the shell makes of it
    seen = succeeded(call("sh", "-c", as_words)).stdout
    succeeded(stock(*seen.split("\0")[2:-1], cwd=tmp_path))
    one, other = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("one", "other"))
    said, unverified = (files.pop("results.csv").decode("utf-8-sig").splitlines() for files in (one, other))
    assert one == other
    assert len(one) == 4
    without = [re.sub(r",[0-9a-f]{64}$", ",", row) for row in said]  # nobody goes on with a stock run
    assert [row.replace(",yes,", ",unknown,", 1) for row in without] == unverified


def test_the_printed_line_survives_the_shell_and_fire(place: Place, tmp_path: Path) -> None:
    """Fire reads 2024 as a number and a,b as a tuple; folders have such names."""
    from fire.parser import DefaultParseValue

    from delineate.pipelines.cli.console import monai_line

    for value in ("2024", "a,b", "1e3", "None", "[x]", "it's here", "plain", "{a}", '"q"', "a b"):
        words = shlex.split(monai_line("train.yaml", {"dataset_dir": value}))
        assert DefaultParseValue(words[words.index("--dataset_dir") + 1]) == value


def test_output_that_is_no_terminal_has_no_control_codes(place: Place) -> None:
    done = succeeded(delineate("bundle", "list"))
    for text in (done.stdout, done.stderr, place.training.stdout, place.training.stderr):
        assert "\x1b" not in text
        assert "\r" not in text


def test_training_prints_one_line_an_epoch(place: Place) -> None:
    lines = [line for line in place.training.stdout.splitlines() if line.startswith("epoch ")]
    assert [line.split()[1] for line in lines] == [f"{n}/{EPOCHS}" for n in range(1, EPOCHS + 1)]


def test_info_is_json() -> None:
    facts = json.loads(succeeded(inside("info", "--json")).stdout)
    assert facts["bundles"].keys() == shipped_bundles().keys()
    assert facts["versions"]["monai"]


def test_networks_names_their_parameters() -> None:
    rows = [line.split("\t") for line in succeeded(inside("networks")).stdout.splitlines()]
    assert {"31,037,633", "239,676"} <= {row[1] for row in rows}


def test_bundle_list_names_every_bundle() -> None:
    rows = [line.split("\t") for line in succeeded(inside("bundle", "list")).stdout.splitlines()]
    assert set(shipped_bundles()) <= {row[0] for row in rows}


def test_settings_are_kept_in_all_three_workflows_with_their_comments(tmp_path: Path) -> None:
    bundle = shipped_bundles()["skin_lesion"]
    shutil.copytree(bundle, tmp_path / "run")
    change_bundle(tmp_path / "run", {"image_size": [64, 64], "max_epochs": 12, "learning_rate": 0.01})
    for workflow in ("train", "evaluate", "inference"):
        shipped, run = (
            f / "configs" / f"{workflow}.yaml" for f in (shipped_bundles()["skin_lesion"], tmp_path / "run")
        )
        comments = [line.split("#")[1] for line in shipped.read_text().splitlines() if "#" in line]
        kept = [line.split("#")[1] for line in run.read_text().splitlines() if "#" in line]
        assert "image_size: [64, 64]" in run.read_text()
        assert kept == comments
        assert comments


def test_a_run_passes_the_check_of_bundles(place: Place) -> None:
    assert "passes" in succeeded(inside("bundle", "verify", place.run)).stdout


def test_a_run_notes_how_it_was_made(place: Place) -> None:
    (session,) = json.loads((place.run / "logs" / "record.json").read_text())["sessions"]
    assert session["completed"]
    assert session["epochs"] == EPOCHS
    assert session["settings"]["seed"] == 0


def test_training_into_an_occupied_folder_is_refused(place: Place) -> None:
    before = sorted(place.run.rglob("*"))
    message = refusal(inside("train", "skin_lesion", "--data", "dataset", "--out", "run", *SMALL, cwd=place.folder))
    assert "run is there already" in message
    assert sorted(place.run.rglob("*")) == before


@pytest.mark.parametrize("words", [("segment", "RUN", "DATA"), ("evaluate", "RUN", "--data", "DATA")], ids=" ".join)
def test_a_bundle_without_weights_says_how_to_get_them(
    words: tuple[str, ...], place: Place, untrained: Path, tmp_path: Path
) -> None:
    known = {"DATA": str(place.dataset), "RUN": str(untrained)}
    message = refusal(inside(*(known.get(word, word) for word in words), "--out", tmp_path / "out"))
    assert "has no weights" in message
    assert f"delineate train {untrained}" in message


def test_training_without_a_datalist_says_how_to_make_one(tmp_path: Path) -> None:
    message = refusal(delineate("train", "skin_lesion", "--data", "nothing", "--out", "run", cwd=tmp_path))
    assert "delineate data index SOURCE --out nothing" in message
    assert not (tmp_path / "run").exists()


def test_resuming_what_was_never_begun_is_refused(place: Place, tmp_path: Path) -> None:
    """It would be trained with the bundle's settings, not those that it was begun with."""
    done = inside("train", "skin_lesion", "--data", place.dataset, "--out", "run", "--resume", cwd=tmp_path)
    assert "leave out --resume" in refusal(done)
    assert not (tmp_path / "run").exists()


def test_a_broken_datalist_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "datalist.json").write_text('{"training": [')
    message = refusal(inside("train", "skin_lesion", "--data", ".", "--out", "run", cwd=tmp_path))
    assert "datalist.json" in message


def test_an_error_of_stock_monai_keeps_its_reason(place: Place, untrained: Path, tmp_path: Path) -> None:
    words = ("run", "--config_file", "configs/inference.yaml", "--dataset_dir", place.dataset)
    done = stock(*words, cwd=untrained)
    assert done.returncode != 0
    assert "has no weights" in done.stderr
