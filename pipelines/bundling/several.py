"""One bundle, or several as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from .gate import Admission, Bundle, admit


@contextmanager
def admitted(bundle: Bundle | Sequence[Bundle], trust: bool = False) -> Iterator[Admission]:
    """Let a bundle in, or several as an ensemble that is gone when the block ends.

    Args:
        bundle: as for `admit`; several are members, as for `make_ensemble`.
        trust: use what verification has findings in.

    Raises:
        DelineateError: as of `admit` and `make_ensemble`.
    """
    if isinstance(bundle, str | Path | Admission):
        yield admit(bundle, trust)
        return
    from .ensemble import make_ensemble  # takes torch, which one bundle need not

    runs = [admit(one, trust) for one in bundle]
    with TemporaryDirectory(prefix="delineate-") as folder:
        ensemble = admit(make_ensemble(runs, Path(folder) / "ensemble", trust=trust), trust)
        yield replace(ensemble, members=tuple(run.folder.absolute() for run in runs))
