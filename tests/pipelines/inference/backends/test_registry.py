"""Each backend answers as the network itself does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser
from structured_bundles import structured_bundle

from delineate.pipelines.core.errors import UnknownNameError
from delineate.pipelines.inference.backends import BACKENDS, load_network
from delineate.pipelines.inference.segmenter import Segmenter


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return structured_bundle(tmp_path_factory.mktemp("bundles") / "chest", exclusive=False)


@pytest.mark.parametrize("backend", BACKENDS)
def test_logits_are_those_of_the_network(bundle: Path, backend: str) -> None:
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.yaml"))
    parser.update({"bundle_root": str(bundle), "device": "cpu"})
    images = torch.rand(2, 1, 32, 48)
    with torch.no_grad():
        logits, expected = (
            call(images) for call in (load_network(backend, parser), parser.get_parsed_content("network"))
        )
    assert logits.shape == (2, 3, 32, 48)
    torch.testing.assert_close(logits, expected, atol=1e-3, rtol=1e-3)


def test_another_backend_is_answered_with_those_there_are(bundle: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'torch'"):
        Segmenter(bundle, backend="tosch")
