"""What a figure was made with: versions, machine, commit."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = (
    *("delineate", "torch", "monai", "pytorch-ignite", "numpy", "pillow"),
    *("pydicom", "python-gdcm", "nibabel", "SimpleITK"),
)


@cache
def own_version() -> str:
    """Delineate's version, whichever way it was installed: whole, or its runtime without torch."""
    try:
        return version("delineate")
    except PackageNotFoundError:
        return version_of("delineate-runtime")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that figures depend on."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        found[name] = own_version() if name == "delineate" else version_of(name)
    return found


@cache
def version_of(package: str) -> str:
    """The version of a package, or that it is not installed; looked for once, among the folders of all packages."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def commit() -> str | None:
    """The commit of the checkout that Delineate runs from, ``-dirty`` with changes; ``None`` for an installed wheel."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def cpu_name() -> str:
    """The CPU, with the widest of its units that matter here."""
    import torch

    able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    units = [unit for unit in ("amx_bf16", "avx512_bf16", "avx512_f", "avx2") if able.get(unit)]
    return f"{able.get('cpu_name') or platform.processor()} ({units[0] if units else 'no AVX2'})"
