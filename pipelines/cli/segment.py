"""``delineate segment``: outline images, write their masks."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..bundling.gate import admit
from ..bundling.settings import backend_settings, refuse_unknown, structures_in, workflow_config
from ..bundling.workflow import refuse_decided
from ..core.errors import DelineateError, InputError, NotedError, fate
from ..core.files import refuse_unwritable
from ..imaging.objects import OBJECT_FORMATS, SegType
from ..imaging.writers import FORMATS, VolumeFormat
from ..training.runs import parse_settings
from .console import print_monai_line, progress, say, show_refused, warn
from .ensembles import admitted_runs, split_runs
from .options import AsEnsemble, Backend, BundleOrRun, InferenceSettings, Quiet, Threshold, Trust, Tta, Verbose
from .remote import Header, Inputs, Remote, Series, ServerUrl, Stow, Study, TokenFile, remote_of
from .thresholds import parse_thresholds

if TYPE_CHECKING:
    from ..bundling.gate import Admission
    from ..imaging.item import Item
    from ..inference.files import OutputOptions
    from ..inference.outputs import Segmentation
    from ..inference.results import ResultFolder

_MADE_HERE = "what is fetched or put together here, other machines do not see"
_LATER = ("label_map", "formats", "seg_type", "tta")
"""Settings that bundles made by earlier versions do not have."""

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT",
        help="Files (pictures, DICOM, NIfTI, MHA, NRRD), folders or patterns such as 'photos/*.png'.",
        show_default=False,
    ),
]
LabelMap = Annotated[
    bool,
    typer.Option(
        "--label-map",
        help="Write one file with 1, 2, 3 ... instead of a mask for each structure; refused where masks overlap.",
    ),
]
SkipExisting = Annotated[
    bool,
    typer.Option(
        "--skip-existing",
        help="Go on where an earlier call stopped: pass over images whose masks are whole and were made of the same "
        "files, bundle and settings, or were changed by hand since.",
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Segment on the machines of a Ray cluster, e.g. auto or 10.0.0.5:6379, which see the inputs under the "
        "same names; local: in processes of this machine.",
    ),
]
Formats = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT,...",
        help=f"What is written: {', '.join([*FORMATS, *OBJECT_FORMATS])}; several with commas, e.g. png,seg. png "
        "is of images; nifti, nrrd and mha of volumes; seg, sc and sr are DICOM objects, of DICOM. Without it, "
        "masks as png or nifti.",
    ),
]


def segment(
    context: typer.Context,
    bundle: BundleOrRun,
    inputs: Sources = None,
    ensemble: AsEnsemble = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the masks and results.csv; needed, unless --stow sends the results elsewhere."),
    ] = None,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Also write a copy of each image with the outlines drawn in.")
    ] = False,
    probability: Annotated[
        bool, typer.Option("--probability", help="Also write each pixel's probability, as 16-bit PNG.")
    ] = False,
    label_map: LabelMap = False,
    threshold: Threshold = None,
    tta: Tta = None,
    backend: Backend = None,
    format_: Formats = None,
    seg_type: Annotated[
        SegType, typer.Option(help="Of a DICOM SEG: binary, fractional (probabilities) or labelmap (no overlap).")
    ] = "binary",
    volume_format: Annotated[VolumeFormat, typer.Option(help="File format of the masks of volumes.")] = "nii.gz",
    dicomweb: ServerUrl = None,
    study: Study = None,
    series: Series = None,
    stow: Stow = False,
    token_file: TokenFile = None,
    header: Header = None,
    skip_existing: SkipExisting = False,
    ray: Ray = None,
    set_: InferenceSettings = None,
    trust: Trust = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write one mask PNG per image, of the same size; for a volume, one mask volume on its grid.

    Where a bundle outlines several structures, each has a mask, e.g. NAME_heart_mask.png.
    Foreground is 255 in PNG files and 1 in volumes.
    OUT/results.csv lists each input with its result or the reason why there is none.
    """
    from ..inference.files import OutputOptions, parse_formats

    runs, sources = split_runs([bundle, *(inputs or [])]) if ensemble else ([bundle], inputs or [])
    remote = remote_of(dicomweb, study, series, stow, token_file, header or [], sources)
    _refuse_together(out, remote, ensemble, skip_existing, ray)
    admission = context.with_resource(admitted_runs(runs, trust)) if ensemble else admit(bundle, trust)
    root = admission.folder
    chosen = list(parse_formats(format_ or ("seg" if remote else None))) or None
    options: dict[str, Any] = {"overlay": overlay, "probability": probability, "volume_format": volume_format}
    options |= {"label_map": label_map, "formats": chosen, "seg_type": seg_type}
    of_structures = parse_thresholds(threshold or [], structures_in(root))
    thresholds = {} if of_structures is None else {"threshold": of_structures}
    arguments = _arguments(root, sources, out, options | {"tta": tta}) | thresholds
    settings = parse_settings(set_ or [])
    by_backend = backend_settings(root, workflow_config(root, "inference"), backend, settings | thresholds)
    refuse_decided(settings, arguments | options | by_backend)
    settings |= thresholds | ({"tta": tta} if tta else {})
    output_options = OutputOptions.of(**options)
    if stow and not output_options.objects:
        raise DelineateError(f"--stow sends DICOM objects, and {format_} is none; add seg, sc or sr to --format")
    if out is not None:
        refuse_unwritable(out)
    if remote is None and not ensemble:  # stock MONAI fetches nothing, and the ensemble goes again
        print_monai_line(str(root / "configs" / "inference.yaml"), arguments | settings | by_backend)
    settings |= {"backend": backend} if backend else {}
    if remote is not None:  # before anything that takes seconds
        remote = remote.located()
    with nullcontext(out) if out else TemporaryDirectory(prefix="delineate-") as folder:
        gone = None if out else str(folder)
        refused = _write_results(
            admission, remote or sources, Path(folder), output_options, settings, skip_existing, ray, gone
        )
    if refused:
        raise typer.Exit(1)


def _refuse_together(
    out: Path | None, remote: Remote | None, ensemble: bool, skip_existing: bool, ray: str | None
) -> None:
    """Refuse options that need another, or exclude it, and Ray where it is not installed."""
    stow = remote is not None and remote.stow
    if out is None and not stow:
        also = "; or add --stow, which stores the results on the server" if remote else ""
        raise DelineateError("--out: name the folder for the masks and results.csv" + also)
    if skip_existing and stow:
        raise DelineateError("--skip-existing and --stow: nobody knows what the server stored before; leave one out")
    if ray and (remote or ensemble):
        raise DelineateError(f"--ray and {'--dicomweb' if remote else '--ensemble'}: leave one out; {_MADE_HERE}")
    if ray:
        from ..inference.on_ray import refuse_missing

        refuse_missing()


def _arguments(root: Path, sources: list[str], out: Path | None, options: dict[str, Any]) -> dict[str, Any]:
    """What stock MONAI is called with to write the same; what is as usual is left out."""
    named = {name: value for name, value in options.items() if value not in (False, None, "nii.gz", "binary")}
    new = [name for name in _LATER if name in named]
    refuse_unknown(root, workflow_config(root, "inference"), "inference", new)
    dataset = sources[0] if len(sources) == 1 else sources
    return {"bundle_root": str(root), "dataset_dir": dataset, "output_dir": str(out), **named}


def _write_results(
    admission: Admission,
    inputs: list[str] | Remote,
    out: Path,
    options: OutputOptions,
    settings: dict[str, Any],
    skip_existing: bool,
    ray: str | None,
    gone: str | None = None,
) -> int:
    """Segment each input and write its result; how many were refused. A folder that will be ``gone`` is not shown."""
    from ..core.memory import keep_freed_memory
    from ..inference.familiarity import UNLIKE, unfamiliar_warning
    from ..inference.here import Segmenter
    from ..inference.on_ray import segment_on_ray
    from ..inference.result_table import TABLE
    from ..inference.results import ResultFolder, shown_path

    keep_freed_memory()
    segmenter = Segmenter(admission, **settings)
    folder = ResultFolder(out, segmenter.facts, segmenter.thresholds, options, settings)
    found: list[InputError] = []

    def refuse(error: InputError) -> None:
        found.append(error)
        show_refused([error])
        folder.refuse(error)

    outline: Callable[..., Generator[Segmentation, None, None]] = segmenter.segment
    if ray:
        made = settings | {"trust": admission.trusted}
        light = not (options.probability or options.objects)
        outline = partial(segment_on_ray, segmenter, address=ray, settings=made, light=light)
    done = unsent = empty = 0
    unfamiliar: list[str] = []
    for batch in inputs.fetch(refuse) if isinstance(inputs, Remote) else [Inputs(inputs)]:
        told = partial(_refuse_as, batch, refuse)
        skip = partial(_skip, folder, batch, skip_existing, told)
        with (
            progress("segmenting", "images") as moved,
            closing(outline(batch.sources, on_error=told, on_progress=moved, skip=skip)) as results,
        ):
            for own in results:
                result = batch.result(own)
                try:
                    paths = folder.write(result, batch.place)
                except InputError as error:
                    told(error)
                    continue
                written = shown_path(paths, result)
                written = written.replace(f"{gone}{os.sep}", "") if gone else written
                known = result.familiar is not False
                say(f"{batch.label(result)} -> {written} ({result.extent}){'' if known else ', ' + UNLIKE}")
                unfamiliar += [] if known else [batch.label(result)]
                unsent += inputs.send_back(paths) if isinstance(inputs, Remote) and inputs.stow else 0
                empty += not any(mask.any() for mask in result.masks.values())
                done += 1
    folder.flush()
    if done and empty == done:
        warn(
            "nothing was outlined, every mask is empty: see whether these are images such as the bundle was trained "
            "with, or lower --threshold"
        )
    if unfamiliar:
        warn(unfamiliar_warning(unfamiliar, done, TABLE))
    fates = Counter(map(fate, found))
    skipped = f", {fates['skipped']} skipped" if fates["skipped"] else ""
    changed = f" ({folder.changed} changed since they were written: kept)" if folder.changed else ""
    before = f", {folder.done} done before{changed}" if skip_existing else ""
    say(f"{done} segmented{before}, {fates['refused']} refused{skipped}{f', {unsent} not stored' if unsent else ''}")
    return fates["refused"] + unsent


def _refuse_as(batch: Inputs, refuse: Callable[[InputError], None], error: InputError) -> None:
    refuse(batch.error(error))


def _skip(folder: ResultFolder, batch: Inputs, wanted: bool, tell: Callable[[InputError], None], item: Item) -> bool:
    """Always asked: the record of what is made now has the hash of its input."""
    before = folder.changed
    done = folder.is_done(item, batch.place)
    if wanted and folder.changed > before:
        tell(
            NotedError(
                item.file,
                "its result was changed since Delineate wrote it",
                "kept; its row in results.csv still describes what Delineate wrote",
            )
        )
    return done and wanted
