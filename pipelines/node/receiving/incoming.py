"""Data sets on their way to the disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID
from pynetdicom.dsutils import create_file_meta

from ...imaging.dicom.parsing import quiet
from ..folders import sync_folder
from .wire import Command, DataSet, ProtocolError

_LOOK = 2**23  # bytes written between two looks at the free space


class Incoming(DataSet):
    """A data set on its way into ``incoming/``: a header of a file before it, and nothing of it in memory.

    Where the disk is full what still comes is read and dropped, so that its sender hears the status.
    """

    def __init__(self, folder: Path, command: Command, most: int, is_full: Callable[[], bool]) -> None:
        super().__init__()
        self.length = 0
        self._folder, self._most, self._is_full = folder, most, is_full
        self._file: BinaryIO | None = None
        self._failure: OSError | None = None
        self._temporary = folder / f".tmp-{uuid4().hex}"
        try:
            self._look()
            self._file = self._temporary.open("xb")
            _write_header(self._file, command)
        except OSError as error:
            self._fail(error)

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Append to the file.

        Raises:
            ProtocolError: it is longer than is allowed.
        """
        before, self.length = self.length, self.length + len(data)
        if self.length > self._most:
            self.discard()
            raise ProtocolError(f"sent an image of more than {self._most >> 20} MiB")
        if self._file:
            try:
                if before // _LOOK != self.length // _LOOK:
                    self._look()
                self._file.write(data)
            except OSError as error:
                self._fail(error)
        return len(data)

    def keep(self) -> str:
        """Put the file in its place, safe from a loss of power; its name.

        Raises:
            OSError: it could not be written.
        """
        if self._file is None:
            raise self._failure or OSError("nothing was written")
        name = f"{uuid4().hex}.dcm"
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._temporary, self._folder / name)
            sync_folder(self._folder)
        except OSError as error:
            self._fail(error)
            raise
        self._file = None
        return name

    def discard(self) -> None:
        """Remove the file, unless it was kept."""
        if self._file:
            with suppress(OSError):
                self._file.close()
            self._file = None
            self._temporary.unlink(missing_ok=True)

    def _look(self) -> None:
        if self._is_full():
            raise OSError(errno.ENOSPC, "the disk is full")

    def _fail(self, error: OSError) -> None:
        self.discard()
        self._failure = error


def _write_header(file: BinaryIO, command: Command) -> None:
    """The preamble and the file meta information, of what was said over the network, where it is of the right form."""
    with quiet():
        names = [UID(name) if UID(name).is_valid else UID("") for name in command[:2]]
        meta = create_file_meta(
            sop_class_uid=names[0], sop_instance_uid=names[1], transfer_syntax=command.transfer_syntax
        )
        file.write(b"\0" * 128 + b"DICM")
        write_file_meta_info(file, meta, enforce_standard=False)  # type: ignore[arg-type]  # else no empty UID
