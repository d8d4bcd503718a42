"""The program that segments the node's jobs, in a process of its own; it keeps the bundles of all rules loaded.

It is run by its path (`core.child`), so its imports name the whole package; they are late, so that what goes wrong in
one is an answer, too. It uses as many threads as ``delineate segment`` does: another number might round otherwise.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from delineate.pipelines.core.errors import InputError
    from delineate.pipelines.inference.files import OutputOptions
    from delineate.pipelines.inference.here import Segmenter

_loaded: dict[str, Segmenter] = {}


def answer(request: bytes) -> bytes:
    """Load a bundle, and segment a folder where one is named.

    Args:
        request: JSON with ``bundle`` (``bundle``, ``trust``, ``settings``), and, of a job, ``inputs`` and ``out``
            (folders), ``formats`` and ``seg_type``.

    Returns:
        JSON with ``model``, the hash of the bundle, and, of a job, ``objects`` (``file`` in ``out``, ``sop_class``,
        ``sop_uid``), ``refused`` and ``skipped`` (reasons); or with ``no_room`` where the disk is full.
    """
    asked = json.loads(request)
    segmenter = _segmenter(asked["bundle"])
    answered: dict[str, Any] = {"model": segmenter.admission.hash}
    if "inputs" in asked:
        try:
            answered |= _segment(segmenter, asked)
        except Exception as error:
            if not _is_full(error):
                raise
            answered["no_room"] = True
    return json.dumps(answered).encode()


def _segmenter(bundle: dict[str, Any]) -> Segmenter:
    from delineate.pipelines.core.memory import keep_freed_memory
    from delineate.pipelines.inference.here import Segmenter

    if not _loaded:
        keep_freed_memory()
    key = json.dumps(bundle, sort_keys=True)
    if key not in _loaded:
        _loaded[key] = Segmenter(bundle["bundle"], trust=bundle["trust"], **bundle["settings"])
    return _loaded[key]


def _segment(segmenter: Segmenter, asked: dict[str, Any]) -> dict[str, Any]:
    from delineate.pipelines.core.errors import InputError, fate
    from delineate.pipelines.inference.files import OutputOptions
    from delineate.pipelines.inference.outputs import write_outputs

    options, out = OutputOptions.of(asked["formats"], seg_type=asked["seg_type"]), Path(asked["out"])
    found: list[InputError] = []
    objects: list[dict[str, str]] = []
    for number, result in enumerate(segmenter.segment(asked["inputs"], on_error=found.append)):
        try:
            written = write_outputs(replace(result, name=str(number)), out, options)[0]
        except InputError as error:
            found.append(error)
            continue
        objects += _objects(written, options)
    reasons = {kind: [_reason(error) for error in found if fate(error) == kind] for kind in ("refused", "skipped")}
    return {"objects": objects, **reasons}


def _objects(written: dict[str, Path], options: OutputOptions) -> Iterator[dict[str, str]]:
    """Rename DICOM objects to the hash of their UID, and say which they are."""
    from pydicom import dcmread

    for kind in options.objects:
        header = dcmread(written[kind], specific_tags=["SOPClassUID", "SOPInstanceUID"])
        file = f"{sha256(header.SOPInstanceUID.encode()).hexdigest()}.dcm"
        written[kind].replace(written[kind].with_name(file))
        yield {"file": file, "sop_class": header.SOPClassUID, "sop_uid": header.SOPInstanceUID}


def _reason(error: InputError) -> str:
    """Without the file, whose name is a hash that tells nobody anything."""
    return f"{error.reason}; {error.remedy}"


def _is_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False
