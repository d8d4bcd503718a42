from __future__ import annotations

import platform
import subprocess
import sys

KEEP = "from delineate.pipelines.core.memory import keep_freed_memory; print(keep_freed_memory())"


def test_glibc_takes_the_settings_and_other_libraries_are_left_alone() -> None:
    """In a process of its own: the settings cannot be taken back. What they bring is measured in benchmarks/."""
    done = subprocess.run([sys.executable, "-c", KEEP], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(platform.libc_ver()[0] == "glibc")
