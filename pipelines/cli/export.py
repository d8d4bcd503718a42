"""``delineate export``: a bundle's network for another runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import DelineateError, counted
from .console import say, warn
from .options import BundleOrRun, Quiet, Trust


def export(
    bundle: BundleOrRun,
    format_: Annotated[
        str, typer.Option("--format", help="The format to write: onnx, openvino, pt2 or torchscript.")
    ] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write, or a new folder: it gets a copy of the bundle with that file, for machines without "
            "torch. By default models/model.onnx (.xml, .pt2, .ts) in the bundle."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of a data set: compare on its images, too, not on noise alone.", show_default=False),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Write int8 (onnx and openvino): calibrated on the training images of --data, and kept only if mean "
            "Dice on its validation images drops by at most 0.005.",
        ),
    ] = False,
    calibrate: Annotated[int, typer.Option(min=1, help="With --int8: training images to calibrate on.")] = 100,
    allow_auto: Annotated[
        bool, typer.Option("--allow-auto", help="With --int8: allow --backend auto to choose int8.")
    ] = False,
    trust: Trust = False,
    quiet: Quiet = False,
) -> None:
    """Export the network for another runtime; it is kept only if it agrees with PyTorch."""
    from ..export import export_bundle

    if int8:
        _export_int8(bundle, data, format_, out, calibrate, allow_auto, trust)
        return
    if allow_auto:
        raise DelineateError("--allow-auto is of --int8: without it, auto takes what is exported anyway; leave it out")
    done = export_bundle(bundle, format_, out, data=data, trust=trust)
    sizes = " and ".join(f"{rows}x{columns}" for rows, columns in done.sizes)
    say(f"written: {done.path}")
    say(
        f"logits differ from PyTorch's by at most {done.difference:.2g} on {done.compared} (rows x columns {sizes}); "
        + (
            "any batch, height and width"
            if done.any_size
            else f"any batch of {sizes}; this network takes no other size"
        )
    )


def _export_int8(
    bundle: str, data: Path | None, format_: str, out: Path | None, calibrate: int, auto: bool, trust: bool
) -> None:
    from ..export.int8 import export_int8
    from ..export.judged import LOST

    if data is None:
        raise DelineateError("--int8 is calibrated and judged on images; add --data, the folder of the data set")
    done = export_int8(bundle, data, format_, out, calibrate=calibrate, auto=auto, trust=trust)
    judged, (low, high) = done.judged, done.judged.drop["ci95"]
    say(f"written: {done.path}")
    say(
        f"mean Dice of {counted(judged.images, 'validation image')}: {judged.float32:.4f} in float32, "
        f"{judged.int8:.4f} in int8; it drops by {judged.drop['value']:.4f} ({low:.4f} to {high:.4f})"
        + (f", thresholds {done.thresholds}" if done.thresholds is not None else "")
    )
    for one in judged.lost:
        warn(f"{one.name} loses more than {LOST}: Dice {one.float32:.4f} in float32, {one.int8:.4f} in int8")
