"""``import delineate``: what it offers, and that it costs nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import delineate

OFFERED = {
    *("DelineateError", "InputError", "Segmentation", "Segmenter"),
    *("__version__", "compare", "compare_networks", "create_network", "cross_validate", "evaluate", "train"),
}


def test_it_offers_what_a_user_needs() -> None:
    assert set(delineate.__all__) == set(dir(delineate)) == OFFERED


@pytest.mark.parametrize("name", sorted(OFFERED))
def test_each_name_is_there(name: str) -> None:
    assert getattr(delineate, name)


def test_it_takes_no_torch() -> None:
    code = "import sys, delineate; delineate.__version__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0


def test_another_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        delineate.nonsense  # noqa: B018


def test_the_folders_are_modules_as_before() -> None:
    from delineate import networks

    assert networks.create_network is delineate.create_network
