"""``delineate export``: a bundle's network for another runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import say
from .options import BundleOrRun, Quiet, Trust


def export(
    bundle: BundleOrRun,
    format_: Annotated[
        str, typer.Option("--format", help="The format to write: onnx, openvino, pt2 or torchscript.")
    ] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(help="The file to write; without it, models/model.onnx (.xml, .pt2, .ts) in the bundle."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of a data set: compare on its images, too, not on noise alone.", show_default=False),
    ] = None,
    trust: Trust = False,
    quiet: Quiet = False,
) -> None:
    """Export the network for another runtime; it is kept only if it agrees with PyTorch."""
    from ..export import export_bundle

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
