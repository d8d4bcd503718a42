"""``delineate train``, ``evaluate`` and ``segment``: compose configuration, run the bundle."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

import typer
import yaml

from ..bundles import change_bundle, copy_bundle, find_bundle, part, refuse_occupied
from ..errors import DelineateError, InputError, SkippedError
from .console import monai_line, run_workflow, show_refused, show_table

BundleOrRun = Annotated[
    str, typer.Argument(metavar="RUN|BUNDLE", help="A run's or bundle's folder, or a shipped bundle's name.")
]
VolumeFormat = Literal["nii.gz", "nii", "nrrd", "mha"]
Dataset = Annotated[Path, typer.Option("--data", help="Folder with datalist.json, made by 'delineate data index'.")]


def train(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, or a shipped bundle's name.")],
    data: Dataset,
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/BUNDLE where not given.")] = None,
    network: Annotated[str | None, typer.Option(help="Use this network; see 'delineate networks'.")] = None,
    loss: Annotated[str | None, typer.Option(help="Use this loss: bce, dice or dice_bce.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="ID=VALUE", help="Set an id of the bundle, e.g. max_epochs=20."),
    ] = None,
    fold: Annotated[int | None, typer.Option(min=0, help="Of a data set with folds: validate on this one.")] = None,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Train although the splits leak; the run's record says so.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was broken off.")] = False,
    compare: Annotated[
        str | None, typer.Option(metavar="NETWORK,...", help="Train these networks alike; OUT gets one table.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="With --compare: each network's time to train.")] = None,
) -> None:
    """Train a bundle; the run is a bundle, too."""
    if (compare is None) != (minutes is None) or (compare and network):
        raise DelineateError("--compare goes with --minutes and without --network: --compare unet,se_unet --minutes 10")
    run = out or Path("runs") / (find_bundle(bundle).resolve().name + ("_compare" if compare else ""))
    if not (data / "datalist.json").is_file():
        raise DelineateError(
            f"{data} has no datalist.json; index the images first: delineate data index SOURCE --out {data}"
        )
    from ..audit.before_training import refuse_leaks

    values = settings_of_data(find_bundle(bundle), data) | parse_settings(set_ or [])
    values |= ({} if fold is None else {"fold": fold}) | ({"allow_leaks": True} if allow_leaks else {})
    if not resume:
        refuse_leaks(data, values.get("allow_leaks", False))  # before anything is made
    if compare is not None and minutes is not None:
        from .compare import compare_networks

        compare_networks(find_bundle(bundle), data, run, compare, minutes, loss, values, resume)
        return
    overlays = [part(kind, name) for kind, name in (("networks", network), ("losses", loss)) if name]
    if resume:
        check_resumable(run, values, overlays)
    else:
        begin_run(find_bundle(bundle), run, values, overlays)
    arguments: dict[str, object] = {"bundle_root": str(run), "dataset_dir": str(data)}
    if resume:
        arguments["resume"] = True
    run_workflow(str(run / "configs" / "train.yaml"), arguments)
    print(f"run: {run}")


def settings_of_data(bundle: Path, data: Path) -> dict[str, Any]:
    """What a data set of slices asks of a bundle: to cut and show volumes alike."""
    from ..data.slices import bundle_settings

    channels = yaml.safe_load((bundle / "configs" / "train.yaml").read_text(encoding="utf-8")).get("channels")
    return bundle_settings(data, channels)


def begin_run(source: Path, run: Path, values: dict[str, Any], overlays: list[Path]) -> None:
    """Copy a bundle into ``run``, changed; what is refused or killed on the way leaves no ``run`` behind."""
    refuse_occupied(run)
    run = run.resolve()
    run.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{run.name}.", dir=run.parent) as draft:
        copy_bundle(source, Path(draft))
        if values or overlays:
            change_bundle(Path(draft), values, overlays)
        run.mkdir(exist_ok=True)
        for entry in sorted(Path(draft).iterdir(), key=lambda entry: entry.name == "configs"):
            entry.replace(run / entry.name)  # configs/ last: with it, it is a run


def check_resumable(run: Path, values: dict[str, Any], overlays: list[Path]) -> None:
    """Refuse to resume what was never begun, or with other settings than it was begun with.

    Raises:
        DelineateError: in both cases.
    """
    configs = run / "configs"
    if not (configs / "train.yaml").is_file():
        raise DelineateError(f"{run} holds no run to go on with; leave out --resume to begin one")
    with TemporaryDirectory() as draft:
        shutil.copytree(configs, Path(draft) / "configs")
        change_bundle(Path(draft), values, overlays)
        changed = [
            f.name
            for f in sorted(configs.iterdir())
            if (Path(draft) / "configs" / f.name).read_bytes() != f.read_bytes()
        ]
    if (values or overlays) and changed:
        raise DelineateError(
            f"{run} was begun with other settings ({', '.join(changed)} would change); it is resumed as it was begun: "
            "leave out --network, --loss and --set"
        )


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """``["max_epochs=20"]`` to ``{"max_epochs": 20}``; values are read as YAML.

    Raises:
        DelineateError: when one is not of the form ID=VALUE.
    """
    values = {}
    for setting in settings:
        id_, equals, value = setting.partition("=")
        if not equals or not id_:
            raise DelineateError(f"--set got {setting!r}; write ID=VALUE, e.g. --set max_epochs=20")
        try:
            values[id_] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise DelineateError(
                f"--set {id_}: {value!r} is no YAML value; quote it as you would in a YAML file"
            ) from error
    return values


def evaluate(
    bundle: BundleOrRun,
    data: Dataset,
    out: Annotated[Path, typer.Option(help="Where metrics.json and per_image.csv go.")],
    split: Annotated[str, typer.Option(help="training, validation or test.")] = "test",
) -> None:
    """Score a bundle per image, on each image's own grid."""
    root = find_bundle(bundle)
    arguments = {"bundle_root": str(root), "dataset_dir": str(data), "split": split, "output_dir": str(out)}
    run_workflow(str(root / "configs" / "evaluate.yaml"), arguments)
    from ..metrics import interval_text

    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    names = [name for name, score in metrics.items() if isinstance(score, dict) and "ci95" in score]
    rows = [[n, f"{metrics[n]['value']:.4f}", interval_text(metrics[n])] for n in names]
    show_table(f"{metrics['count']} images of the split {split}", ["", "mean", "95 % interval"], rows)
    if metrics["refused"]:
        print(
            f"{len(metrics['refused'])} image(s) could not be scored; they are named in {out / 'metrics.json'}",
            file=sys.stderr,
        )
        raise typer.Exit(1)


def segment(
    bundle: BundleOrRun,
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Files (pictures, DICOM, NIfTI, MHA, NRRD), folders, globs."),
    ],
    out: Annotated[Path, typer.Option(help="Where the masks go.")],
    overlay: Annotated[bool, typer.Option("--overlay", help="Also write the image with the outline drawn in.")] = False,
    probability: Annotated[
        bool, typer.Option("--probability", help="Also write the probabilities, 16-bit PNG.")
    ] = False,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Probability from which a pixel is foreground.")
    ] = None,
    volume_format: Annotated[VolumeFormat, typer.Option(help="Of masks of volumes.")] = "nii.gz",
) -> None:
    """Write a mask PNG (0/255) an image, of exactly its size; of a volume a mask volume (0/1) on its grid."""
    root = find_bundle(bundle)
    settings: dict[str, Any] = {} if threshold is None else {"threshold": threshold}
    arguments: dict[str, object] = {
        "bundle_root": str(root),
        "dataset_dir": inputs[0] if len(inputs) == 1 else inputs,
        "output_dir": str(out),
        **({"overlay": True} if overlay else {}),
        **({"probability": True} if probability else {}),
        **({"volume_format": volume_format} if volume_format != "nii.gz" else {}),
        **settings,
    }
    print(monai_line(str(root / "configs" / "inference.yaml"), arguments), flush=True)
    from ..memory import keep_freed_memory
    from ..outputs import write_segmentation
    from ..segmenter import Segmenter

    keep_freed_memory()
    found: list[InputError] = []

    def refuse(error: InputError) -> None:
        found.append(error)
        show_refused([error])

    done = 0
    for result in Segmenter(root, **settings).segment(inputs, on_error=refuse):
        path = write_segmentation(result, out, overlay=overlay, probability=probability, volume_format=volume_format)
        print(f"{result.source} -> {path} ({result.extent})", flush=True)
        done += 1
    skipped = sum(isinstance(error, SkippedError) for error in found)
    print(f"{done} segmented, {len(found) - skipped} refused{f', {skipped} skipped' if skipped else ''}")
    if len(found) > skipped:
        raise typer.Exit(1)
