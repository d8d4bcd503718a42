"""Starts commands as a user would, each in a process of its own, without a network; or, quicker, in this one."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

DELINEATE = Path(sys.executable).with_name("delineate")
CLOSED = "http://127.0.0.1:9"  # nobody listens there: what asks the network fails
SMALL = (
    "--set",
    "image_size=[64,64]",
    "--set",
    "max_epochs=12",
    "--set",
    "batch_size=4",
    "--set",
    "learning_rate=0.01",
)

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


def delineate(*words: str | Path, cwd: Path | None = None) -> Done:
    """Run ``delineate``."""
    return call(DELINEATE, *words, cwd=cwd)


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
    return call("python", "-m", "monai.bundle", *words, cwd=cwd)


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
