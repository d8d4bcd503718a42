"""A workflow of a bundle that was let in, run in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import DelineateError, plain_errors
from ..core.logs import quiet_libraries
from .gate import Admission, in_use

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

Announce = Callable[[str | list[str], Mapping[str, object]], None]


def run_workflow(
    admission: Admission,
    config_file: Path | Sequence[Path],
    arguments: Mapping[str, object],
    announce: Announce | None = None,
    prepare: Callable[[ConfigParser], None] | None = None,
) -> None:
    """Run a workflow of a bundle that was let in, in this process, as ``python -m monai.bundle run`` does.

    Args:
        admission: of the bundle.
        config_file: of the bundle; of several each is laid over those before.
        arguments: ids and their values.
        announce: called with both, paths as text, before the workflow starts.
        prepare: called with the workflow's parser before it runs.
    """
    files = str(config_file) if isinstance(config_file, Path) else list(map(str, config_file))
    if announce:
        announce(files, arguments)
    from monai.bundle import ConfigWorkflow

    configured = logging.getLogger(__name__).hasHandlers()
    with plain_errors(), in_use(admission), quiet_libraries():
        workflow = ConfigWorkflow(files, logging_file=False if configured else None, **arguments)
        workflow.initialize()
        if prepare:
            prepare(workflow.parser)
        workflow.run()
        with suppress(SystemExit):  # how a stock run tells that inputs were refused; here the caller tells
            workflow.finalize()


def refuse_decided(settings: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Refuse settings of what is given otherwise.

    Raises:
        DelineateError: an id stands in both.
    """
    if both := sorted(set(settings) & set(arguments)):
        raise DelineateError(f"{', '.join(both)} is given by an option of its own; leave out that --set")
