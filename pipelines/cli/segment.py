"""``delineate segment``: outline images, write their masks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InputError, SkippedError
from ..gate import admit
from .console import print_monai_line, show_refused
from .options import BundleOrRun, Trust, VolumeFormat


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
    trust: Trust = False,
) -> None:
    """Write a mask PNG (0/255) an image, of exactly its size; of a volume a mask volume (0/1) on its grid."""
    root = admit(bundle, trust).folder
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
    print_monai_line(str(root / "configs" / "inference.yaml"), arguments)
    from ..memory import keep_freed_memory
    from ..outputs import write_segmentation
    from ..segmenter import Segmenter

    keep_freed_memory()
    found: list[InputError] = []

    def refuse(error: InputError) -> None:
        found.append(error)
        show_refused([error])

    done = 0
    for result in Segmenter(root, trust=trust, **settings).segment(inputs, on_error=refuse):
        path = write_segmentation(result, out, overlay=overlay, probability=probability, volume_format=volume_format)
        print(f"{result.source} -> {path} ({result.extent})", flush=True)
        done += 1
    skipped = sum(isinstance(error, SkippedError) for error in found)
    print(f"{done} segmented, {len(found) - skipped} refused{f', {skipped} skipped' if skipped else ''}")
    if len(found) > skipped:
        raise typer.Exit(1)
