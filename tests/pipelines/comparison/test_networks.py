from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from judged_folders import dice, write_judged
from monai.bundle import ConfigParser
from processes import server

from delineate.pipelines.bundling.bundles import shipped_bundles
from delineate.pipelines.comparison import networks as module
from delineate.pipelines.comparison.networks import Comparison, Job, compare_networks
from delineate.pipelines.core import processes
from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.core.processes import in_one_line

ROW = {
    "parameters": 1, "macs": 2, "dice": 0.5, "dice_low": 0.4, "dice_high": 0.6, "iou": 0.3, "latency_ms": 1.0,
    "epochs": 5, "steps": 5, "training_minutes": 1, "precision": "float32", "images": 3, "refused": 0, "seed": 0,
    "device": "a CPU", "threads": 1,
}  # fmt: skip


def compare(out: Path, networks: str = "unet,se_unet", **options: Any) -> Comparison:
    if not {"minutes", "epochs"} & options.keys():
        options["minutes"] = 1
    return compare_networks("skin_lesion", out.parent, out, networks.split(",") if networks else [], **options)


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A folder with a data list of no images."""
    (tmp_path / "datalist.json").write_text('{"training": [], "validation": [], "test": []}')
    return tmp_path


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"networks": "unet,unett"}, "did you mean 'unet'"),
        ({"networks": "unet,unet"}, "name each once"),
        ({"networks": ""}, "the networks are none"),
        ({"minutes": 0}, "give each network some time"),
        ({"minutes": float("nan")}, "give each network some time"),
        ({"epochs": 0}, "give each network some"),
        ({"epochs": 3, "minutes": 3.0}, "either --minutes or --epochs"),
        ({"epochs": None}, "either --minutes or --epochs"),
        ({"settings": {"max_epochs": 3}}, "--minutes decides on max_epochs"),
        ({"epochs": 3, "settings": {"max_epochs": 5}}, "--epochs decides on max_epochs"),
        ({"settings": {"learning_rat": 3}}, "did you mean 'learning_rate'"),
        ({"metrics": ["mean_dise"]}, "did you mean 'mean_dice'"),
        ({"use_unlabelled": True}, "give --epochs instead of --minutes"),
    ],
    ids=str,
)
def test_what_would_fail_later_is_refused_at_once(wrong: dict[str, Any], message: str, empty: Path) -> None:
    with pytest.raises(DelineateError, match=message):
        compare(empty / "out", **wrong)
    assert not (empty / "out").exists()


def test_a_budget_of_epochs_is_kept_without_a_trial(tmp_path: Path) -> None:
    module._begin(replace(job(tmp_path / "run"), minutes=None, epochs=7, values={"epoch_length": 5}))
    config = yaml.safe_load((tmp_path / "run/configs/train.yaml").read_text())
    assert {name: config[name] for name in ("max_epochs", "epoch_length", "patience", "save_interval")} == {
        "max_epochs": 7,
        "epoch_length": 5,
        "patience": 0,
        "save_interval": 0,
    }


def job(run: Path) -> Job:
    return Job(shipped_bundles()["skin_lesion"], run.parent, run, "unet", 1, {}, ())


def test_why_a_process_failed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "get_context", lambda _: server())  # the next test spawns one
    reason = module._in_its_process(job(tmp_path / "run"))
    assert reason is not None
    assert "no datalist.json" in reason


def test_each_network_learns_from_the_images_without_masks_where_that_is_asked(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(module, "_in_its_process", lambda job: seen.append([path.stem for path in job.overlays]))
    compare(empty / "out", epochs=2, use_unlabelled=True)
    assert seen == [["unet", "mean_teacher"], ["se_unet", "mean_teacher"]]
    assert json.loads((empty / "out/compare.json").read_text())["use_unlabelled"] is True


class Deadly:
    """Who unpickles it aborts."""

    def __reduce__(self) -> Any:
        return os.abort, ()


def test_a_killed_process_is_told_by_its_signal(tmp_path: Path) -> None:
    deadly = replace(job(tmp_path / "run"), values=Deadly())
    assert module._in_its_process(deadly) == "its process was killed by signal 6; memory?"


def test_what_a_component_raised_is_told_not_what_monai_made_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {"_target_": "torch.nn.Conv2d", "in_channels": 3, "out_channels": 4, "kernel_size": 3, "groups": 7}
    with pytest.raises(RuntimeError, match="Failed to instantiate") as wrapped:
        ConfigParser({"c": wrong}).get_parsed_content("c")
    assert in_one_line(wrapped.value) == "ValueError: in_channels must be divisible by groups"
    assert "Traceback" in capsys.readouterr().err


def test_one_network_that_fails_is_named_and_the_rest_goes_on(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_its_process(job: Job) -> str | None:
        if job.network == "unet":
            return "out of memory"
        (job.run / "evaluation").mkdir(parents=True)
        (job.run / "evaluation/compare.json").write_text(json.dumps(ROW | {"network": job.network}))
        return None

    monkeypatch.setattr(module, "_in_its_process", in_its_process)
    found = compare(empty / "out")
    assert ([row["network"] for row in found.rows], found.errors) == (["se_unet"], {"unet": "out of memory"})
    assert (empty / "out/compare.csv").read_text().splitlines()[-1].endswith(",out of memory")
    page = (empty / "out/compare.md").read_text()
    assert "| se_unet |" in page
    assert "- unet: out of memory" in page


@pytest.mark.parametrize("images", [None, ["x.png"] * 30], ids=["the same images", "others"])
def test_networks_that_were_trained_are_compared_in_pairs_where_they_can_be(
    images: list[str] | None, empty: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def in_its_process(job: Job) -> None:
        of = images if job.network == "unet" else None
        write_judged(job.run / "evaluation", {"mean_dice": dice(len(job.network))}, images=of)
        (job.run / "evaluation/compare.json").write_text(json.dumps(ROW | {"network": job.network}))

    monkeypatch.setattr(module, "_in_its_process", in_its_process)
    found = compare(empty / "out")
    assert [row["network"] for row in found.rows] == ["unet", "se_unet"]
    assert (empty / "out/compare.md").is_file()
    assert (empty / "out/comparison.html").is_file() == (images is None)
    if images is None:
        assert found.paired is not None
        assert [(row["a"], row["b"]) for row in found.paired["comparisons"]] == [("unet", "se_unet")]
    else:
        assert found.paired is None
        assert "no paired comparison: unet and se_unet cannot be compared" in caplog.text
