"""``delineate demo``: the whole way once, from labelled images to a page with scores and pictures."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..bundling.bundles import has_weights, shipped_bundles
from ..bundling.settings import structures_in
from ..core.errors import DelineateError
from . import data as data_commands
from .console import say
from .evaluate import evaluate
from .options import Quiet
from .segment import segment
from .train import train

if TYPE_CHECKING:
    from ..datasets.datalist import Datalist
    from ..evaluation.pictures import Picture
    from ..inference.outputs import Segmentation

_MARK = ".delineate-demo"
SHIPPED = "masks_shipped"
_ITERATIONS = 1500  # about: what the training on a real data set gets
_BATCH = 8
_EPOCHS = range(8, 31)
_NETWORK = "ultra_light_unet"  # a demo is not to take long
BUNDLES = dict.fromkeys(("busi", "busbra", "stu"), "breast_lesion")
BUNDLES |= {"nerve": "nerve", "jsrt": "chest_xray", "kvasir": "polyp"}
"""What is trained on a layout; skin_lesion on any other, unless a bundle outlines the structures that the data name."""


def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder to create; that of an earlier demo is replaced.")] = Path("demo"),
    data: Annotated[
        Path | None, typer.Option(help="A labelled data set of your own; without it, artificial images are drawn.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Try everything once: index, train, evaluate and segment, then write one HTML page about it."""
    from ..datasets.datalist import Datalist

    _empty(out)
    commands: list[str] = []
    source = data or out / "phantoms"
    if data is None:
        _step(commands, f"delineate data phantoms --out {out}/phantoms --count 150")
        data_commands.phantoms(out=source, count=150, seed=0)
    dataset, run, scores, masks = (out / name for name in ("dataset", "run", "evaluation", "masks"))
    _step(commands, f"delineate data index {shlex.quote(str(source))} --out {dataset}")
    data_commands.index_and_show([source], "auto", dataset)
    datalist = Datalist.read(dataset)
    bundle = bundle_for(datalist)
    epochs = min(max(_ITERATIONS * _BATCH // len(datalist.part("training")), _EPOCHS[0]), _EPOCHS[-1])
    settings = ["image_size=[128,128]", f"max_epochs={epochs}"]
    _step(
        commands,
        f"delineate train {bundle} --data {dataset} --network {_NETWORK} --out {run} "
        + " ".join(f"--set '{s}'" for s in settings),
    )
    train(bundle, dataset, out=run, network=_NETWORK, set_=settings)
    _step(commands, f"delineate evaluate {run} --data {dataset} --out {scores}")
    evaluate(context, [str(run)], dataset, scores)
    new = _new_images(out, datalist, data)
    _step(commands, f"delineate segment {run} {' '.join(shlex.quote(str(p)) for p in new)} --out {masks}")
    segment(context, str(run), [str(path) for path in new], out=masks)
    shipped = shipped_bundles()[bundle]
    if has_weights(shipped):
        _step(commands, f"delineate segment {bundle} {shlex.join(map(str, new))} --out {out / SHIPPED}")
        segment(context, bundle, [str(path) for path in new], out=out / SHIPPED)
    say(f"page: {_page(out, commands, datalist, new, shipped).resolve()}")


def bundle_for(datalist: Datalist) -> str:
    """The shipped bundle that a data set suits: training refuses what it does not suit, and says what to do."""
    names = {one.name for one in datalist.structures}
    alike = (name for name, folder in shipped_bundles().items() if {one.name for one in structures_in(folder)} == names)
    return BUNDLES.get(datalist.layout) or (next(alike, "") if len(names) > 1 else "") or "skin_lesion"


def _step(commands: list[str], command: str) -> None:
    commands.append(command)
    say(f"\n$ {command}")


def _empty(out: Path) -> None:
    """Make ``out`` anew; only a folder that an earlier demo made is removed."""
    if out.exists() and any(out.iterdir()):
        if not (out / _MARK).is_file():
            raise DelineateError(f"{out} holds something that no demo wrote; name another folder with --out")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / _MARK).touch()


def _new_images(out: Path, datalist: Datalist, data: Path | None) -> list[Path]:
    """Three images that the training did not see: fresh phantoms, or held-out images of the data set."""
    if data is not None:
        return [item.file for item in datalist.part("test")[:3]]
    from ..phantoms.images import write_phantoms

    return sorted((write_phantoms(out / "new", 3, seed=1) / "images").iterdir())


def _page(out: Path, commands: list[str], datalist: Datalist, new: list[Path], shipped: Path) -> Path:
    import numpy as np

    from ..evaluation.pictures import Picture
    from ..evaluation.report import pick_examples, write_report
    from ..imaging.pictures import read_image
    from ..imaging.reading import read_masks

    with (out / "evaluation" / "per_image.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["mean_dice"]]  # of the rest nothing is annotated
    items = {str(item.file.resolve()): item for item in datalist.part("test")}
    chosen = [rows[i] for i, _ in pick_examples([float(row["mean_dice"]) for row in rows])]
    results = _results(out / "run", [row["image"] for row in chosen] + [str(path) for path in new])

    def picture(path: str, dice: float | None = None) -> Picture:
        found = results[path]
        masks = np.stack([*found.masks.values()])
        item = items[str(Path(path).resolve())] if dice is not None else None
        reference = read_masks(item, list(item.structures)) if item else None
        return Picture(Path(path).name, read_image(path, "rgb"), masks, reference, dice, found.structures)

    return write_report(
        out / "report.html",
        title="Delineate: " + datalist.name,
        metrics=json.loads((out / "evaluation" / "metrics.json").read_text(encoding="utf-8")),
        history_csv=out / "run" / "logs" / "history.csv",
        pictures=[picture(row["image"], float(row["mean_dice"])) for row in chosen],
        segmented=[*(picture(str(path)) for path in new), *by_shipped(shipped, new)],
        commands=commands,
    )


def by_shipped(bundle: Path, images: list[Path]) -> list[Picture]:
    """What weights that come with Delineate draw into the same images; nothing where there are none."""
    import numpy as np

    from ..evaluation.pictures import Picture
    from ..imaging.pictures import read_image

    results = _results(bundle, list(map(str, images))) if has_weights(bundle) else {}
    return [
        Picture(
            f"{Path(path).name}, by the weights that come with Delineate",
            read_image(path, "rgb"),
            np.stack([*found.masks.values()]),
            structures=found.structures,
        )
        for path, found in results.items()
    ]


def _results(run: Path, paths: list[str]) -> dict[str, Segmentation]:
    from ..inference.segmenter import Segmenter

    return {result.source: result for result in Segmenter(run).segment(paths)}
