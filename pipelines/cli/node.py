"""``delineate node``: a node of a hospital's network, set up, run and looked after."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.errors import DelineateError, counted, printable
from ..core.files import is_abandoned, write_atomically
from ..node.queue.records import State
from .console import say, show_table, warn
from .node_tables import (
    JOB_COLUMNS,
    ago,
    cell,
    job_facts,
    job_row,
    line,
    names,
    show_deliveries,
    show_images,
    show_trail,
    waiting,
    when,
)
from .options import Quiet, Verbose

if TYPE_CHECKING:
    from ..node.audit import Audit
    from ..node.configuration.config import NodeConfig
    from ..node.queue.queue import Queue

app = typer.Typer(
    help="Set up, run and look after a node that takes DICOM images, segments them and sends the results.",
    no_args_is_help=True,
)
_TEMPLATE = Path(__file__).parents[1] / "templates" / "node.yaml"
_FILE = {"help": "The node's configuration, or its folder.", "envvar": "DELINEATE_NODE"}
File = Annotated[Path, typer.Argument(metavar="FILE|DIR", **_FILE)]
Node = Annotated[Path, typer.Option("--node", metavar="FILE|DIR", **_FILE)]
Id = Annotated[
    str, typer.Argument(metavar="ID", help="A job's identifier, or its beginning; 'delineate node list' shows it.")
]
_HERE = Path()


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.")],
    quiet: Quiet = False,
) -> None:
    """Write a commented node.yaml, and make the folders of a node."""
    from ..node import refuse_missing
    from ..node.folders import Folders

    refuse_missing()
    file = folder / "node.yaml"
    if file.exists():
        raise DelineateError(f"{printable(file)} is there already; edit it, or name another folder")
    Folders(folder).make()
    write_atomically(file, _TEMPLATE.read_bytes())
    say(f"written: {printable(file)}")
    say(f"name callers, rules and destinations in it, then: delineate node run {printable(file)}")


@app.command()
def run(
    file: Annotated[Path, typer.Argument(metavar="FILE|DIR", **_FILE)],
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Serve until Ctrl-C or SIGTERM: receive images, segment them, send the results."""
    from ..node import refuse_missing

    refuse_missing()
    from ..node.configuration.check import read_usable

    config = read_usable(file)
    from ..node import service

    raise typer.Exit(service.run(config, say=say))


@app.command()
def check(file: File = _HERE, quiet: Quiet = False) -> None:
    """Read node.yaml, then its bundles, files and folders; name each mistake, one a line, and exit with code 2 then."""
    from ..node import refuse_missing

    refuse_missing()
    from ..node.configuration.check import read_usable
    from ..node.configuration.errors import ConfigurationError

    try:
        config = read_usable(file)
    except ConfigurationError as error:
        for mistake in error.lines:
            warn(mistake)
        raise typer.Exit(error.exit_code) from error
    rules, destinations = counted(len(config.rules), "rule"), counted(len(config.destinations), "destination")
    say(f"in order: {rules}, {destinations}")


@app.command()
def status(file: File = _HERE, quiet: Quiet = False) -> None:
    """Show whether a node runs, how many jobs are in each state, what waits, and how much disk is free."""
    from ..node.folders import Folders

    config = _config(file)
    folders = Folders(config.folder)
    with _queue(config) as queue:
        oldest = queue.oldest_waiting()
        rows: list[tuple[str, object]] = [("node runs", "yes" if _runs(folders.lock) else "no")]
        rows += list(queue.counts().items())
        rows += [("files not read yet", len(queue.arrivals()))]
        rows += [("oldest waiting", "nothing waits" if oldest is None else ago(oldest))]
        rows += [(f"objects to send to {each.destination}", waiting(each)) for each in queue.waiting()]
    rows.append(("free disk", f"{folders.free_mib():,} MiB (needed: {config.limits.free_mib:,})"))
    show_table(f"node {config.ae_title} in {printable(config.folder)}", ["what", "value"], rows)


@app.command("list")
def list_(
    file: File = _HERE,
    state: Annotated[
        State | None,
        typer.Option(help="Only jobs in this state."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 100,
    quiet: Quiet = False,
) -> None:
    """List jobs, the newest first."""
    with _queue(_config(file)) as queue:
        rows = [job_row(job, queue.waits_for(job.id)) for job in queue.jobs(state, limit)]
    show_table("jobs", JOB_COLUMNS, rows)


@app.command()
def quarantine(file: File = _HERE, quiet: Quiet = False) -> None:
    """List what is quarantined, and why; 'delineate node retry ID' tries one again."""
    with _queue(_config(file)) as queue:
        jobs = queue.jobs("quarantined", limit=1_000_000)
        rows = [
            [
                job.id[:12],
                job.images,
                cell(job.peer),
                names(queue.instances(job.id)),
                when(job.finished),
                line(job.reason),
            ]
            for job in jobs
        ]
    show_table("quarantined", ["id", "images", "from", "file", "since", "reason"], rows)


@app.command()
def show(id_: Id, node: Node = _HERE, quiet: Quiet = False) -> None:
    """Show a job: its images, deliveries and reasons, and what the audit has of it."""
    from ..node.audit import events
    from ..node.folders import Folders

    config = _config(node)
    with _queue(config) as queue:
        job = queue.job(id_)
        waits = queue.waits_for(job.id)
        images, deliveries = queue.instances(job.id), queue.deliveries(job.id)
    show_table("job", ["what", "value"], job_facts(job, waits))
    show_images(images)
    show_deliveries(deliveries)
    show_trail(events(Folders(config.folder).audit, job.id))


@app.command()
def retry(id_: Id, node: Node = _HERE, quiet: Quiet = False) -> None:
    """Do a job again; send again what could not be sent; read again a file that could not be read."""
    config = _config(node)
    with _queue(config) as queue:
        job = queue.job(id_)
        if job.state == "quarantined" and not job.series_uid:
            queue.release(job.id)
            say(f"job {job.id[:12]}: its file will be read again as a new job, which 'delineate node list' shows")
        else:
            again = queue.retry(job.id)
            say(f"job {again.id[:12]}: {'its result will be sent again' if again.state == 'done' else again.state}")
    _audit(config).write("retried by hand", job=job.id, by=_user())


@app.command()
def complete(
    study: Annotated[str, typer.Argument(metavar="STUDY_UID", help="Its Study Instance UID.")],
    node: Node = _HERE,
    quiet: Quiet = False,
) -> None:
    """Mark a study as complete, so that its series are processed at once."""
    config = _config(node)
    with _queue(config) as queue:
        count = queue.complete(study)
    if not count:
        raise DelineateError(f"no series of study {cell(study)} waits for images; 'delineate node list' has all jobs")
    _audit(config).write("complete by hand", study=cell(study), series=count, by=_user())
    say(f"complete: {counted(count, 'series', 'series')}")


def _config(file: Path) -> NodeConfig:
    """The configuration; of one that is not in order, which must blind nobody to what the node does, its folder."""
    from ..node import refuse_missing

    refuse_missing()
    from ruamel.yaml.error import YAMLError

    from ..node.configuration.config import read_config, read_folder
    from ..node.configuration.errors import ConfigurationError

    try:
        return read_config(file)
    except ConfigurationError as error:
        try:
            config = read_folder(file)
        except (OSError, ValueError, YAMLError):
            raise error from None
        warn(f"{error}; meanwhile only its folder is used")
        return config


@contextmanager
def _queue(config: NodeConfig) -> Iterator[Queue]:
    """The queue of a node, whether it runs or not."""
    from ..node.folders import Folders
    from ..node.queue.queue import Queue

    database = Folders(config.folder).database
    if not database.is_file():
        raise DelineateError(
            f"{printable(config.folder)}: no node has run here yet; 'delineate node run FILE' starts one"
        )
    queue = Queue(database)
    try:
        yield queue
    except sqlite3.Error as error:
        raise DelineateError(
            f"{printable(database)}: {error}; try again, and look at the disk and its permissions"
        ) from error
    finally:
        queue.close()


def _audit(config: NodeConfig) -> Audit:
    from ..node.audit import Audit
    from ..node.folders import Folders

    return Audit(Folders(config.folder).audit, config.audit.patient_names)


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


def _runs(lock: Path) -> bool:
    return lock.is_file() and not is_abandoned(lock)
