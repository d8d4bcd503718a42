"""Starts commands as a user would, each in a process of its own, without a network; or, quicker, in this one.

To import torch and MONAI takes a process longer than most of what these tests ask of it. So the commands start as forks
of a server that has imported them, once, and done nothing else; ``call`` starts a process from nothing.
"""

from __future__ import annotations

import atexit
import gc
import io
import logging
import os
import runpy
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

DELINEATE = Path(sys.executable).with_name("delineate")
CLOSED = "http://127.0.0.1:9"  # nobody listens there: what asks the network fails
EPOCHS = 8
SMALL = ("--network", "ultra_light_unet", "--set", "image_size=[64,64]", "--set", f"max_epochs={EPOCHS}",
         "--set", "batch_size=4", "--set", "learning_rate=0.01")  # fmt: skip
NO_PAGE = ("--set", "page=false")  # of an evaluation: to draw it takes longer than to score a few images

IMPORTED = [
    "lean",
    "torch",
    "torch._dynamo",
    "monai.bundle",
    "fire",  # stock MONAI's command line is made of it
    "jinja2",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "delineate.pipelines.cli",
    "delineate.pipelines.comparison.cross_validation",
    "delineate.pipelines.comparison.networks",
    "delineate.pipelines.evaluation.scores",
    "delineate.pipelines.inference.inferer",
    "delineate.pipelines.inference.segmenter",
    "delineate.pipelines.loading.caches",
    "delineate.pipelines.loading.transforms",
    "delineate.pipelines.training.checkpoint",
    "delineate.pipelines.training.losses",
    "delineate.pipelines.training.mean_teacher",
    "delineate.pipelines.training.mlflow",
    "delineate.pipelines.training.pretrained",
    "delineate.pipelines.training.report",
    "delineate.pipelines.training.workflow",
]

Done = subprocess.CompletedProcess[str]


def environment() -> dict[str, str]:
    """This process's, with our interpreter first, one thread, no colours asked for and no way out."""
    kept = {name: value for name, value in os.environ.items() if name not in {"FORCE_COLOR", "PYTHONPATH", "COLUMNS"}}
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), CLOSED)
    proxies |= {name.upper(): CLOSED for name in proxies}
    path = f"{DELINEATE.parent}{os.pathsep}{kept.get('PATH', '')}"
    return {**kept, **proxies, "PATH": path, "OMP_NUM_THREADS": "1"}


def call(*words: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> Done:
    """Run a command to its end."""
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=environment() | (env or {}),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def server() -> ForkServerContext:
    """A context whose processes are forks of the server."""
    context = get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context


def start(
    *words: str | Path,
    log: Path,
    cwd: Path | None = None,
    errors: Path | None = None,
    env: dict[str, str] | None = None,
    first: Callable[[], None] | None = None,
) -> BaseProcess:
    """Start ``delineate``, or ``python -m MODULE``, as a fork, in a session of its own; it prints into ``log``.

    ``first``, a function of a module, is called there before.
    """
    texts, place = [str(word) for word in words], environment() | (env or {})
    process = server().Process(target=_become, args=(texts, cwd or Path.cwd(), place, log, errors or log, first))
    process.start()
    return process


def _become(
    words: list[str], cwd: Path, env: dict[str, str], log: Path, errors: Path, first: Callable[[], None] | None
) -> None:
    """The command, with the environment, the streams and the signals of a process that a shell started."""
    gc.freeze()
    gc.set_threshold(20_000)
    gc.enable()
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name, path, number in (("stdout", log, 1), ("stderr", errors, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        setattr(sys, name, io.TextIOWrapper(io.FileIO(number, "w"), "utf-8", "surrogateescape", line_buffering=True))
    try:
        if first:
            first()
        if words[0] == "delineate":
            from delineate.pipelines.cli import main
            from delineate.pipelines.core import processes

            processes.get_context = lambda _: get_context("fork")  # type: ignore[assignment]  # what it starts, too
            sys.argv = words
            main()
        else:
            sys.argv = words[2:]
            sys.path.insert(0, "")
            runpy.run_module(words[2], run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # which a fork of multiprocessing leaves out


def stop_when(
    ready: Callable[[], bool],
    how: signal.Signals,
    *words: str | Path,
    cwd: Path,
    delay: float = 0,
    first: Callable[[], None] | None = None,
) -> int | None:
    """Start ``delineate``, stop it ``delay`` seconds after ``ready``; its exit code. What it started must end, too."""
    log = cwd / "stopped.log"
    process = start("delineate", *words, log=log, cwd=cwd, first=first)
    deadline = time.monotonic() + 60
    while not ready() and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(delay)
    assert process.is_alive(), f"ended before it was stopped:\n{log.read_text()}"
    assert process.pid is not None
    children = psutil.Process(process.pid).children(recursive=True)
    (os.killpg if how == signal.SIGINT else os.kill)(process.pid, how)  # a terminal interrupts all that belong together
    process.join(100)
    assert not psutil.wait_procs(children, timeout=20)[1]
    return process.exitcode


def _forked(*words: str | Path, cwd: Path | None, first: Callable[[], None] | None = None) -> Done:
    with TemporaryDirectory() as folder:
        log, errors = Path(folder) / "out", Path(folder) / "err"
        process = start(*words, log=log, errors=errors, cwd=cwd, first=first)
        process.join(200)
        process.kill()
        process.join()
        assert process.exitcode is not None
        said = (path.read_bytes().decode(errors="surrogateescape") for path in (log, errors))
        return subprocess.CompletedProcess(words, process.exitcode, *said)


def delineate(*words: str | Path, cwd: Path | None = None, first: Callable[[], None] | None = None) -> Done:
    """Run ``delineate``."""
    return _forked("delineate", *words, cwd=cwd, first=first)


def inside(*words: str | Path, cwd: Path | None = None) -> Done:
    """Run ``delineate`` in this process: the same command line, without the seconds in which torch is imported."""
    from delineate.pipelines.cli import main

    before, arguments, handlers = Path.cwd(), sys.argv, list(logging.root.handlers)
    out, err, code = io.StringIO(), io.StringIO(), 0
    os.chdir(cwd or before)
    sys.argv = ["delineate", *map(str, words)]
    try:
        with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
            main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        os.chdir(before)
        sys.argv = arguments
        for handler in set(logging.root.handlers) - set(handlers):
            logging.root.removeHandler(handler)
    return subprocess.CompletedProcess(sys.argv, code, out.getvalue(), err.getvalue())


def stock(*words: str | Path, cwd: Path) -> Done:
    """Run MONAI's own ``python -m monai.bundle``."""
    return _forked("python", "-m", "monai.bundle", *words, cwd=cwd)


def succeeded(done: Done) -> Done:
    """The process, which must have ended well."""
    assert done.returncode == 0, f"{done.args} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def printed_line(done: Done) -> str:
    """The equivalent line of MONAI that a command printed."""
    lines = [line for line in done.stdout.splitlines() if line.startswith("python -m monai.bundle run ")]
    assert len(lines) == 1, done.stdout
    return lines[0]


def refusal(done: Done) -> str:
    """What a command that refused something printed: one line, exit code 1, no traceback."""
    assert done.returncode == 1, f"{done.args} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr + done.stdout
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]
