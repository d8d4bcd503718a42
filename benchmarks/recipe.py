"""What each step of the training recipe gives, by cross-validation inside the training and validation images.

    python benchmarks/recipe.py data/busi --bundle breast_lesion --out ladder/busi --csv benchmarks/recipe.csv

Each step differs from the recipe, which the bundles hold, in what ``STEPS`` says, is cross-validated by
``delineate cross-validate --keep-test``, so that the test split is not looked at, and is compared with the recipe,
image by image. Images are smaller and trainings shorter than the recipe's, so that a step takes minutes (``--words``).
What is there already is not trained again. One step: ``--steps "encoder at full rate"``.

``JUDGED`` trains nothing: the networks of the recipe's folds are evaluated otherwise. What their ensemble gives cannot
be said so, because all of its members but one have seen each image; that takes the test split, once.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from tables import write_table

from delineate.pipelines.core.versions import commit, cpu_name, versions
from delineate.pipelines.evaluation.evaluation import merge, read_evaluation, write_evaluation

RECIPE = "recipe"
WORDS = "--folds 3 --set image_size=[128,128] --set max_epochs=15"
_AFFINE, _COLOURS = "train::spatial_augmentation::3", "train::intensity_augmentation"
STEPS: dict[str, str] = {
    RECIPE: "",
    "ultra_light_unet": "--network ultra_light_unet",
    "encoder from scratch": "--set pretrained=null",
    "encoder at full rate": "--set encoder_rate=1",
    "encoder at a tenth of the rate": "--set encoder_rate=0.1",
    "lite1": "--set network_def::encoder=lite1",
    "lite2": "--set network_def::encoder=lite2",
    "dropout 0.2": "--set network_def::dropout=0.2",
    "learning rate 0.0005": "--set learning_rate=0.0005",
    "learning rate 0.002": "--set learning_rate=0.002",
    "batches of 4": "--set batch_size=4",
    "batches of 16": "--set batch_size=16",
    "weight decay 0.01": "--set optimizer::weight_decay=0.01",
    "Dice alone": "--loss dice",
    "cross entropy alone": "--loss bce",
    "upside down, too": "--set upright=false",
    "not mirrored": "--set flip_left_right=false",
    "no affine": f"--set {_AFFINE}::prob=0",
    "affine as before": f"--set {_AFFINE}::scale_range=[0.15,0.15] --set {_AFFINE}::prob=0.5",
    "no blur": f"--set {_COLOURS}::3::prob=0",
    "no brightness, no contrast": f"--set {_COLOURS}::0::prob=0 --set {_COLOURS}::2::prob=0",
    "192 pixels": "--set image_size=[192,192]",
    "256 pixels": "--set image_size=[256,256]",
    "30 epochs": "--set max_epochs=30",
    "mean of weights, 0.99": "--set ema=0.99",
    "mean of weights, 0.999": "--set ema=0.999",
    "focal Tversky": "--loss tversky_focal",
    "boundary": "--loss boundary",
    "boundary, ten times": "--loss boundary --set loss::loss::boundary_weight=20",
    "elastic": "--set elastic=0.3",
}
JUDGED: dict[str, str] = {"mean of mirrored views": "--set tta=flips"}


def run(*words: str | Path) -> None:
    """One command of ``delineate``, as a user gives it."""
    print("delineate", shlex.join(map(str, words)), flush=True)
    subprocess.run([Path(sys.executable).with_name("delineate"), *words], check=True)


def judge(words: Sequence[str], recipe: Path, folder: Path) -> None:
    """Evaluate the networks of the recipe's folds in another way, each on its own fold."""
    whole, parts = read_evaluation(recipe / "evaluation"), []
    several = len(whole.facts["cross_validation"]["seeds"]) > 1
    for each in whole.facts["cross_validation"]["of_each"]:
        place = Path(f"seed_{each['seed']}" if several else ".", f"fold_{each['fold']}")
        data, out = recipe / place / "dataset", folder / place
        run("evaluate", recipe / place / "run", "--data", data, "--split", "test", "--out", out, *words)
        one = read_evaluation(out)
        key = {"fold": each["fold"]} | ({"seed": each["seed"]} if several else {})
        one.rows[:] = [{"image": row["image"], **key} | row for row in one.rows]
        parts.append(one)
    together = merge(parts)
    together.facts.pop("bundle", None)  # it is another in each fold
    together.facts |= {name: whole.facts[name] for name in ("split", "data_hash", "cross_validation")}
    write_evaluation(together, folder / "evaluation")


def measure(step: str, bundle: str, data: Path, words: Sequence[str], out: Path) -> dict[str, object]:
    """One row: the step's mean Dice, and its difference from the recipe."""
    folder, begin = out / step.replace(" ", "_").replace(",", ""), time.perf_counter()
    new = not (folder / "evaluation" / "metrics.json").is_file()
    if new and step in JUDGED:
        judge(shlex.split(JUDGED[step]), out / RECIPE, folder)
    elif new:
        run("cross-validate", bundle, "--data", data, "--out", folder, "--keep-test", *words, *shlex.split(STEPS[step]))
    minutes = round((time.perf_counter() - begin) / 60, 1) if new else None
    scores = json.loads((folder / "evaluation" / "metrics.json").read_text())
    dice = scores["mean_dice"]
    row: dict[str, object] = {
        "step": step, "changed": (STEPS | JUDGED)[step], "images": scores["count"], "minutes": minutes,
        "mean_dice": round(dice["value"], 4), "low": round(dice["ci95"][0], 4), "high": round(dice["ci95"][1], 4),
    }  # fmt: skip
    if step != RECIPE:
        run("compare", out / RECIPE / "evaluation", folder / "evaluation", "--out", folder / "comparison", "-q")
        found = json.loads((folder / "comparison" / "comparison.json").read_text())["comparisons"][0]
        row |= {"difference": round(found["difference"], 4), "p": found["p"]}
        row |= dict(zip(("difference_low", "difference_high"), (round(x, 4) for x in found["ci95"]), strict=True))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--bundle", default="breast_lesion")
    parser.add_argument("--out", type=Path, required=True, help="folder of the cross-validations")
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--steps", nargs="*", choices=STEPS | JUDGED, default=[*STEPS, *JUDGED])
    parser.add_argument("--words", default=WORDS, help="what all steps have in common")
    arguments = parser.parse_args()
    about = {"bundle": arguments.bundle, "words": arguments.words, "machine": cpu_name(), "commit": commit()}
    about |= {"threads": torch.get_num_threads(), "torch": versions()["torch"]}
    rows: list[dict[str, object]] = []
    for step in dict.fromkeys([RECIPE, *arguments.steps]):
        rows.append(
            measure(step, arguments.bundle, arguments.data, shlex.split(arguments.words), arguments.out) | about
        )
        write_table(arguments.csv, rows)


if __name__ == "__main__":
    main()
