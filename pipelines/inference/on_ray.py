"""An archive segmented by the machines of a Ray cluster; this process finds the images and writes the results."""

from __future__ import annotations

import logging
import os
import pickle
import socket
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.util import find_spec
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ...installation import install
from ..core.cores import usable_cores
from ..core.errors import DelineateError, InputError, printable
from ..imaging.item import Item
from .outputs import Segmentation
from .streams import stream_items

if TYPE_CHECKING:
    from .here import Segmenter

LOCAL = "local"
Unit = list[dict[str, Any]]
"""The items of one result: an image, or all slices of a volume."""
_IMAGES, _TRIES, _PATIENCE = 8, 2, 10.0


def refuse_missing() -> None:
    """See that Ray is there.

    Raises:
        DelineateError: it is not.
    """
    if missing := [name for name in ("ray", "pyarrow", "pandas") if find_spec(name) is None]:
        raise DelineateError(f"--ray needs {' and '.join(missing)}, not installed here; {install('ray')}")


class _EndedError(Exception):
    """Processes end at this job again and again."""


class _Begun:
    """An actor that counts."""

    def __init__(self) -> None:
        self.times = Counter[int]()

    def begin(self, job: int) -> int:
        self.times[job] += 1
        return self.times[job]


def _ask(counter: Any, job: int) -> int:
    import ray

    return int(ray.get(counter.begin.remote(job)))


@dataclass
class _Worker:
    """An actor's: a Segmenter that is loaded with the first images.

    Attributes:
        bundle: its folder, or the name of a shipped one.
        expected: the hash of the bundle in the process that writes.
        settings: all else that the Segmenter is made of.
        light: whether probabilities are left behind.
        begun: counts how often a job was begun, by whatever process.
    """

    bundle: str
    expected: str
    settings: Mapping[str, Any]
    light: bool
    begun: Callable[[int], int] = lambda _: 1

    @cached_property
    def segmenter(self) -> Segmenter:
        from ..core.memory import keep_freed_memory
        from .here import Segmenter

        keep_freed_memory()
        segmenter = Segmenter(self.bundle, **self.settings)
        if segmenter.admission.hash != self.expected:
            raise DelineateError(f"{self.bundle} is another bundle on {os.uname().nodename}; copy it there")
        return segmenter

    def __call__(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """What became of the units of a job; where it failed, of those before it did."""
        results: list[Segmentation] = []
        refused: list[tuple[type[InputError], str, str, str]] = []
        answer: dict[str, Any] = {"job": job["job"], "failed": "", "fatal": ""}
        try:
            if self.begun(job["job"]) > _TRIES:
                raise _EndedError
            items = [item for unit in pickle.loads(job["units"]) for item in unit]
            outlined = self.segmenter.outline(items, lambda e: refused.append((type(e), e.source, e.reason, e.remedy)))
            results.extend(replace(one, probabilities={}) if self.light else one for one in outlined)
        except DelineateError as error:
            answer["fatal"] = str(error)
        except _EndedError:
            answer["failed"] = "its process ended"
        except Exception as error:
            answer["failed"] = " ".join(f"{type(error).__name__}: {error}".split())
        return answer | {"results": pickle.dumps(results), "refused": pickle.dumps(refused)}


def segment_on_ray(
    segmenter: Segmenter,
    sources: Sequence[str],
    address: str,
    settings: Mapping[str, Any],
    on_error: Callable[[InputError], None],
    on_progress: Callable[[int, int], None] | None = None,
    skip: Callable[[Item], bool] | None = None,
    light: bool = False,
) -> Generator[Segmentation, None, None]:
    """As `Segmenter.segment`, in whatever order results come; each has been computed by one process alone.

    What a process that ended had not given back is given to another. What fails again, then alone, is refused.

    Args:
        segmenter: of the bundle, here.
        sources: files, folders, globs, which all machines see under these names.
        address: of the cluster, ``auto``, or ``local`` for processes of this machine.
        settings: what each process makes its Segmenter with, beside the bundle.
        on_error: called with each input that is refused.
        on_progress: called with how many images and slices are done, and how many there are.
        skip: asked of each image, and each slice of a volume; where it says yes, it is passed over.
        light: leave probabilities out.

    Raises:
        DelineateError: Ray is missing, there is no such cluster, or its machines do not have the bundle.
    """
    refuse_missing()
    found = list(stream_items(list(sources), on_error, segmenter.slicing))
    wanted = [item for item in found if not (skip and skip(Item.from_fields(item)))]
    left = [list(unit) for _, unit in groupby(wanted, lambda item: item["name"])]
    done, failures = len(found) - len(wanted), dict[str, str]()
    shipped, folder = segmenter.admission.shipped, segmenter.bundle
    worker = _Worker(folder.name if shipped else str(folder.resolve()), segmenter.admission.hash, dict(settings), light)
    for jobs in (_together, _alone):
        if not left:
            break
        back: set[str] = set()
        with _cluster(address):
            for units, answer in _run(worker, jobs(left)):
                results: list[Segmentation] = pickle.loads(answer["results"])
                yield from results
                if answer["failed"]:
                    back |= {result.name for result in results}
                    failures |= {unit[0]["name"]: answer["failed"] for unit in units}
                else:
                    back |= {unit[0]["name"] for unit in units}
                    for kind, *words in pickle.loads(answer["refused"]):
                        on_error(kind(*words))
                done += sum(len(unit) for unit in units if unit[0]["name"] in back)
                if on_progress:
                    on_progress(done, len(found))
        left = [unit for unit in left if unit[0]["name"] not in back]
    for unit in left:
        reason = failures.get(unit[0]["name"], "it did not come back")
        remedy = "segment it by itself, without --ray, to see why"
        on_error(InputError(Item.from_fields(unit[0]).file, f"failed again and again ({printable(reason)})", remedy))


def _together(units: Iterable[Unit]) -> list[list[Unit]]:
    """Several images a job, of which the next is read while one is inferred; a volume alone."""
    jobs: list[list[Unit]] = []
    for unit in units:
        if jobs and len(jobs[-1]) < _IMAGES and "slices" not in {**unit[0], **jobs[-1][0][0]}:
            jobs[-1].append(unit)
        else:
            jobs.append([unit])
    return jobs


def _alone(units: Iterable[Unit]) -> list[list[Unit]]:
    return [[unit] for unit in units]


@contextmanager
def _cluster(address: str) -> Iterator[None]:
    """Connect, unless this process is connected already."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
    local = {**quiet, "num_cpus": usable_cores()} if address == LOCAL else {"log_to_driver": False}
    try:
        _reach(address)
        ray.init(address=address, **local)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise DelineateError(f"--ray {printable(address)}: no Ray cluster answers there ({reason})") from error
    try:
        yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """See in seconds that somebody listens there: Ray tries for more than five minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()


def _run(worker: _Worker, jobs: Sequence[list[Unit]]) -> Iterator[tuple[list[Unit], Mapping[str, Any]]]:
    """Jobs and what became of them; Ray gives those of a process that ended to another, without end."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = DataContext.get_current()
    context.enable_progress_bars, context.max_errored_blocks = False, -1
    has = ray.cluster_resources()
    gpus = int(has.get("GPU", 0)) if worker.settings.get("device") != "cpu" else 0
    most = min(len(jobs), gpus or max(1, int(has.get("CPU", 1))))
    rows = [{"job": number, "units": pickle.dumps(units)} for number, units in enumerate(jobs)]
    answers = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        _Worker,
        fn_constructor_kwargs={**vars(worker), "begun": partial(_ask, ray.remote(num_cpus=0)(_Begun).remote())},
        compute=ActorPoolStrategy(min_size=1, max_size=most),
        num_cpus=1,
        num_gpus=1 if gpus else None,
    )
    for answer in answers.iter_rows():
        if answer["fatal"]:
            raise DelineateError(f"--ray: a machine of the cluster cannot begin: {answer['fatal']}")
        yield jobs[answer["job"]], answer
