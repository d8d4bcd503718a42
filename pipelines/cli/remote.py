"""A study that lies on a DICOMweb server: fetched series by series for ``delineate segment``, its results sent back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.errors import DelineateError, InputError, SkippedError, counted, printable
from ..exchange import ExchangeError, Outgoing, refuse_missing
from .console import say, warn

if TYPE_CHECKING:
    from ..exchange.dicomweb import FoundSeries, Server
    from ..inference.outputs import Segmentation

_NO_IMAGES = frozenset(
    {"ANN", "ASMT", "AU", "DOC", "ECG", "EPS", "FID", "HD", "KER", "KO", "M3D"}
    | {"RTDOSE", "RTPLAN", "RTRECORD", "RTSTRUCT"}
    | {"PLAN", "POS", "PR", "REG", "RESP", "RWV", "SEG", "SMR", "SR", "STAIN", "TEXTUREMAP", "TG"}
)
"""Modalities of what is no image: PS3.3, C.7.3.1.1.1."""

ServerUrl = Annotated[
    str | None,
    typer.Option(
        "--dicomweb",
        metavar="URL",
        help="Segment a study on this DICOMweb server instead of files, e.g. https://pacs.example/dicom-web; "
        "--format is seg unless given.",
    ),
]
Study = Annotated[str | None, typer.Option(metavar="UID", help="Study Instance UID, with --dicomweb.")]
Series = Annotated[str | None, typer.Option(metavar="UID", help="Series Instance UID, to segment that one alone.")]
Stow = Annotated[bool, typer.Option("--stow", help="Store the DICOM objects on the same server.")]
TokenFile = Annotated[Path | None, typer.Option(help="File with the bearer token that the server asks for.")]
Header = Annotated[
    list[str] | None, typer.Option(metavar="NAME:VALUE", help="Header that the server is sent; may be repeated.")
]


@dataclass(frozen=True)
class Inputs:
    """What is segmented at once, and how it is called.

    Attributes:
        sources: files and folders.
        places: absolute paths of files and folders that the user does not know, and what they are to them.
        names: names of files and folders, without suffix, and what takes their place in the names of results.
        study: that they are all of, as places begin: it is not printed with each result.
    """

    sources: Sequence[str]
    places: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    study: str = ""

    def place(self, source: str) -> str:
        """A file or folder as a user knows it."""
        return self.places.get(os.path.abspath(source), source)

    def result(self, result: Segmentation) -> Segmentation:
        """A result, called as a user knows it."""
        name = result.name
        for own, known in self.names.items():
            name = name.replace(own, known)
        return replace(result, source=self.place(result.source), name=name)

    def label(self, result: Segmentation) -> str:
        """What is printed for the source of a result that is called as a user knows it."""
        return result.label.removeprefix(self.study)

    def error(self, error: InputError) -> InputError:
        """A refusal in words that a user knows."""
        reason = error.reason
        for path, known in self.places.items():
            reason = reason.replace(path, known)
        return type(error)(self.place(error.source), reason, error.remedy)


@dataclass(frozen=True)
class Remote:
    """A study, or one series of it, on a server; with `stow`, results are sent there. `located` finds its series."""

    server: Server
    study: str
    series: str | None = None
    stow: bool = False
    found: Sequence[FoundSeries] = ()

    def located(self) -> Remote:
        """The same, with the series that the server has.

        Raises:
            ExchangeError: there is no such study or series, or the server cannot be asked.
        """
        from ..exchange.dicomweb import find_series

        found = find_series(self.server, self.study, self.series)
        if not found:
            wanted = self.server.shown(self.study, self.series or "")
            raise ExchangeError(f"{wanted}: there is no such {'series' if self.series else 'study'}; check the UIDs")
        return replace(self, found=found)

    def fetch(self, refuse: Callable[[InputError], None]) -> Iterator[Inputs]:
        """The images of one series after the other; they are deleted when the next is asked for.

        Args:
            refuse: called with what is no series of images, or cannot be fetched.
        """
        from ..imaging.dicom.header import MANUFACTURER

        for series in self.found:
            url = self.server.shown(series.study, series.uid)
            if series.modality in _NO_IMAGES:
                refuse(SkippedError(url, f"is a series of {series.modality}, not of images", "passed over"))
                continue
            if series.manufacturer == MANUFACTURER:
                refuse(_own_pictures(url))
                continue
            with TemporaryDirectory(prefix="delineate-") as folder:
                if (inputs := self._fetch_one(series, url, Path(folder).resolve(), refuse)) is not None:
                    yield inputs

    def _fetch_one(
        self, series: FoundSeries, url: str, folder: Path, refuse: Callable[[InputError], None]
    ) -> Inputs | None:
        from ..exchange.dicomweb import retrieve_series

        try:
            files = retrieve_series(self.server, series, folder)
        except ExchangeError as error:
            refuse(InputError(url, f"cannot be fetched ({error})", "segment it again when it can"))
            return None
        if not files:
            refuse(InputError(url, "has no instances", "look whether the server still receives them"))
            return None
        if _is_own_picture(files[0]):  # which not every server says of a series
            refuse(_own_pictures(url))
            return None
        study = self.server.shown(series.study) + "/"
        say(f"fetched {url.removeprefix(study)} ({counted(len(files), 'instance')})")
        known = {path: _sop_uid(path) for path in files}
        places = {
            str(path): self.server.shown(series.study, series.uid, uid) if uid else f"{url} (SHA-256 {path.stem[:16]})"
            for path, uid in known.items()
        }
        names = {path.stem: uid for path, uid in known.items() if uid}
        return Inputs([str(folder)], {**places, str(folder): url}, {**names, folder.name: series.uid}, study)

    def send_back(self, paths: Sequence[Path]) -> int:
        """Store a result's DICOM objects at the server (STOW-RS); how many it did not take."""
        from ..exchange.dicomweb import store

        objects = [_outgoing(path) for path in paths if path.suffix == ".dcm"]
        failed = 0
        for answer, one in zip(store(self.server, objects), objects, strict=True):
            if answer.reason:
                warn(f"not stored: {one.file}: {answer.reason}")
                failed += 1
            else:
                say(f"stored {one.file.name} as {one.sop_uid}")
        return failed


def remote_of(
    url: str | None,
    study: str | None,
    series: str | None,
    stow: bool,
    token_file: Path | None,
    headers: Sequence[str],
    inputs: Sequence[str],
) -> Remote | None:
    """What ``--dicomweb`` and the options with it mean; ``None`` where it is not given.

    Raises:
        DelineateError: they contradict each other, or one is missing.
    """
    asked = {"--study": study, "--series": series, "--stow": stow, "--token-file": token_file, "--header": headers}
    if url is None:
        if named := [name for name, value in asked.items() if value]:
            raise DelineateError(f"{', '.join(named)}: of which server? Name it with --dicomweb URL")
        if not inputs:
            raise DelineateError("there is nothing to segment; name files or folders, or --dicomweb URL --study UID")
        return None
    if inputs:
        raise DelineateError(f"{printable(inputs[0])} and --dicomweb: name files, or a study on a server, not both")
    if study is None:
        raise DelineateError("--dicomweb: name the study, too: --study with its Study Instance UID")
    refuse_missing()
    from ..exchange.dicomweb import Server

    return Remote(Server(url, token_file, dict(map(_header, headers))), study, series, stow)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not text.isprintable() or not text.isascii():
        raise DelineateError(f"--header {printable(text)}: is no header; write NAME: VALUE")
    return name.strip(), value.strip()


def _own_pictures(url: str) -> SkippedError:
    return SkippedError(url, "is a series of pictures with outlines that Delineate drew", "passed over")


def _is_own_picture(path: Path) -> bool:
    from ..imaging.dicom.header import is_own_picture
    from ..imaging.dicom.parsing import parse, refusing

    try:
        with refusing(path):
            return is_own_picture(parse(path, pixels=False)[0])
    except InputError:
        return False  # refused, with its reason, when it is segmented


def _sop_uid(path: Path) -> str:
    """The SOP Instance UID of a file; empty where it has none that is in order."""
    from ..exchange.dicomweb import is_uid
    from ..imaging.dicom.parsing import parse, refusing, uid

    try:
        with refusing(path):
            found = uid(parse(path, pixels=False)[0], "SOPInstanceUID")
    except InputError:
        return ""  # refused, with its reason, when it is segmented
    return found if is_uid(found) else ""


def _outgoing(path: Path) -> Outgoing:
    import pydicom

    header = pydicom.dcmread(path, stop_before_pixels=True)
    return Outgoing(path, str(header.SOPClassUID), str(header.SOPInstanceUID))
