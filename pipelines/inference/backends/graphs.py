"""The graph of a bundle's network that other runtimes read: the bundle's own, or written once and kept for the user."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ....networks.features import WithFeatures
from ....networks.graphs import GraphAxes, graph_axes, out_of_place
from ...bundling.settings import workflow_config
from ...core.errors import DelineateError, printable
from ...core.files import cache_folder, replacing
from ...core.logs import quiet_libraries
from ...core.sums import SUMS, check_sums, sha256
from ...core.versions import versions
from . import Compute

logger = logging.getLogger(__name__)
TOLERANCES = {"float32": 1e-3, "bfloat16": 0.1}
"""Of a logit, as a share of the largest where that is above 1."""
_FORMAT = 1  # of the graphs that are kept: other numbers are written anew


def graph_of(
    network: nn.Module, root: Path, shape: tuple[int, ...], names: Sequence[str], any_size: bool = False
) -> Path:
    """The graph of a bundle's network: in its ``models/``, else in the user's cache, where it is written if need be.

    Args:
        network: with the bundle's weights, on the CPU.
        root: the bundle's folder.
        shape: (1, C, H, W) of its images.
        names: of graphs that may lie in ``models/``, the first before the others.
        any_size: whether one that is written leaves rows and columns open, where the network allows it, which takes
            half as long again to write; else it is for images of ``shape``, as many at once as there are.

    Raises:
        DelineateError: there is none, and the cache cannot be written.
    """
    models = root / "models"
    for name in names:
        if (models / name).is_file() and (models / SUMS).is_file() and not check_sums(models, _whole(name)):
            return models / name
    axes = graph_axes(network, (shape[2], shape[3]), any_size)
    path = cache_folder("graphs") / f"{graph_key(root, shape, any_size)}.onnx"
    if path.is_file():
        return path
    logger.warning(f"{printable(root)}: its network is exported once, which takes up to a minute; it is kept in {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with replacing(path) as temporary:
            write_onnx(network, shape[1], axes, temporary)
    except OSError as error:
        raise DelineateError(
            f"the exported network cannot be kept in {path.parent} ({error.strerror}); export it into the bundle with "
            "'delineate export', set XDG_CACHE_HOME to another folder, or take the backend torch"
        ) from error
    return path


def _whole(name: str) -> list[str]:
    """A graph's files: OpenVINO's weights lie beside it."""
    return [name, name.replace(".xml", ".bin")] if name.endswith(".xml") else [name]


def write_onnx(network: nn.Module, channels: int, axes: GraphAxes, path: Path) -> None:
    """Write ``image`` (B, C, H, W) to ``pred``, logits, and ``features`` (B, D) of each member, where it has them."""
    program = program_of(WithFeatures(network).eval(), channels, axes)
    features = [f"features_{place}" for place in range(1, len(program.graph_signature.user_outputs))]
    with _quiet():
        model = torch.onnx.export(
            program, dynamo=True, verbose=False, input_names=["image"], output_names=["pred", *features]
        )
    assert model is not None  # it is for dynamo=True
    path.write_bytes(model.model_proto.SerializeToString())


def program_of(network: nn.Module, channels: int, axes: GraphAxes) -> torch.export.ExportedProgram:
    """What torch's exporter makes of a network in evaluation mode."""
    example = torch.rand(2, channels, *axes.drawn, generator=torch.Generator().manual_seed(0))
    with _quiet(), out_of_place(network):
        return torch.export.export(network, (example,), dynamic_shapes=(axes.dynamic,))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, which logs that it has no torchvision, and calls torch as torch no longer likes it."""
    with warnings.catch_warnings(), quiet_libraries(("torch", "onnxscript", "onnx_ir")), torch.no_grad():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def refuse_other_logits(compute: Compute, network: nn.Module, image: torch.Tensor, path: Path, told: str) -> float:
    """See that a runtime's logits are those of torch.

    Args:
        compute: image (B, C, H, W) to logits first.
        network: torch's.
        image: (B, C, H, W).
        path: of the graph; one in the user's cache is removed where it differs, so that it is written anew.
        told: what computes; its last word is the precision.

    Returns:
        the largest difference of a logit.

    Raises:
        DelineateError: it is too large.
    """
    with torch.no_grad():
        expected = network(image).float().numpy()
    found = compute(image.numpy())[0]
    difference = float(np.abs(found - expected).max()) if found.shape == expected.shape else float("inf")
    tolerance = TOLERANCES[told.rpartition(" ")[2]]
    if difference <= tolerance * max(1.0, float(np.abs(expected).max())):
        return difference
    drop_kept(path)
    raise DelineateError(
        f"{told} differs from torch by up to {difference:.2g} of a logit at {tuple(image.shape)} with {path}, which is "
        "not used; write it anew with 'delineate export', or take the backend torch"
    )


def made_image(shape: Sequence[int]) -> torch.Tensor:
    """Noise, the same each time: (B, C, H, W), 0-1."""
    return torch.rand(tuple(shape), generator=torch.Generator().manual_seed(0))


def drop_kept(path: Path) -> None:
    """Remove a graph that is of no use, where it is the user's cache's: it is written anew."""
    if path.parent == cache_folder("graphs"):
        path.unlink(missing_ok=True)


def graph_key(root: Path, shape: tuple[int, ...], any_size: bool = False) -> str:
    """Names weights, network, size and versions."""
    network = workflow_config(root, "inference").get("network_def")
    used = {name: versions()[name] for name in ("delineate", "torch", "monai")}
    told = [_FORMAT, sha256(root / "models" / "model.pt"), network, shape, any_size, used]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
