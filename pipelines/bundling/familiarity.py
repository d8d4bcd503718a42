"""Whether an image is like those that a network was trained with: how far its features are from theirs.

Mahalanobis distance of features: Lee K et al. A Simple Unified Framework for Detecting Out-of-Distribution Samples and
Adversarial Attacks. NeurIPS 2018, https://doi.org/10.48550/arXiv.1807.03888; of those of a segmentation network's
encoder: Gonzalez C et al. Medical Image Analysis 2022, https://doi.org/10.1016/j.media.2022.102596.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import DelineateError
from ..core.sums import SUMS, check_sums, replacing_listed, sha256
from .verify.listing import FAMILIARITY, MAX_FAMILIARITY

logger = logging.getLogger(__name__)

FLAGGED = 0.01
"""Of images like those of training, the share beyond the limit."""
LEAST = 100
"""Validation images of which a quantile of 1 - `FLAGGED` is one."""
MARGIN = 1.2
"""By which the limit is beyond the farthest of fewer validation images."""
DIRECTIONS = 64
"""Along which the spread of features is known; across all others it is taken to be alike."""

_FORMAT, _DIGITS, _SMALLEST = 1, 6, 1e-6
_ROUNDED = 1.001  # so that the image that sets the limit is within it, rounded as numbers are in the file
_LEAST_VARIANCE = 1e-2  # of the mean one: what varied less in training may yet vary, and is rounded in the file

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Familiarity:
    """How the features of a network's training images are spread, and how far those of a familiar image may be.

    Attributes:
        mean: of the features (D,).
        scale: their standard deviations (D,).
        directions: (K, D), orthonormal, of features in units of `scale` around `mean`.
        variances: along each of them (K,).
        rest: variance across them.
        limit: the distance up to which an image is familiar.
    """

    mean: Floats
    scale: Floats
    directions: Floats
    variances: Floats
    rest: float
    limit: float = 1.0

    def distances(self, features: Floats) -> Floats:
        """Mahalanobis distances of features (N, D) from the mean, (N,); 1 is the limit.

        Raises:
            DelineateError: the features are of another network.
        """
        if features.shape[1] != len(self.mean):
            raise DelineateError(
                f"the bundle's {FAMILIARITY} is of {len(self.mean)} features, and its network has {features.shape[1]}; "
                "make it again: delineate bundle familiarity"
            )
        found = (features - self.mean) / self.scale
        along = found @ self.directions.T
        across = np.maximum((found**2).sum(1) - (along**2).sum(1), 0)
        squares: Floats = (along**2 / self.variances).sum(1) + across / self.rest
        return np.sqrt(squares) / self.limit

    @classmethod
    def of(cls, training: Floats, validation: Floats) -> Familiarity:
        """From the features of training images (N, D) and of validation images (M, D)."""
        spread = _spread(np.asarray(training, np.float64))
        return cls(**spread, limit=_limit(cls(**spread).distances(np.asarray(validation, np.float64))))


def _spread(features: Floats) -> dict[str, Any]:
    """Mean and covariance, the latter as Ledoit and Wolf shrink it: https://doi.org/10.1016/S0047-259X(03)00096-4."""
    count, size = features.shape
    mean, scale = features.mean(0), features.std(0)
    scale = np.maximum(scale, max(1e-2 * float(np.median(scale)), 1e-6))  # of a channel that is all but dead
    found = (features - mean) / scale
    _, singular, directions = np.linalg.svd(found, full_matrices=False)
    variances = singular**2 / count
    average = variances.sum() / size
    off = (variances**2).sum() - size * average**2
    noise = ((found**2).sum(1) ** 2).sum() / count**2 - (variances**2).sum() / count
    share = float(np.clip(noise / off, 0, 1)) if off > 0 else 1.0
    kept = min(DIRECTIONS, len(variances))
    shrunk = (1 - share) * variances + share * average
    least = max(_LEAST_VARIANCE * average, _SMALLEST)
    rest = (shrunk[kept:].sum() + (size - len(shrunk)) * share * average) / max(size - kept, 1)
    along = {"directions": directions[:kept], "variances": np.maximum(shrunk[:kept], least)}
    return {"mean": mean, "scale": scale, **along, "rest": max(float(rest), least)}


def _limit(distances: Floats) -> float:
    """Beyond which `FLAGGED` of the images are; of few images, beyond all of them."""
    if len(distances) < LEAST:
        return max(float(distances.max()) * MARGIN, _SMALLEST)
    return max(float(np.quantile(distances, 1 - FLAGGED, method="higher")) * _ROUNDED, _SMALLEST)


def write_familiarity(models: Path, known: Sequence[Familiarity], name: str = FAMILIARITY) -> None:
    """Write it beside ``model.pt``, of which it is, and list it.

    Args:
        models: the bundle's folder of weights.
        known: of the network; of an ensemble one a member.
        name: of the file.
    """
    told = {"format": _FORMAT, "weights": sha256(models / "model.pt"), "networks": [_as_plain(one) for one in known]}
    with replacing_listed(models / name) as temporary:
        temporary.write_text(json.dumps(told, allow_nan=False) + "\n", encoding="utf-8")


def familiarity_of(graph: str) -> str:
    """The file's name of a graph that computes other features than ``model.pt``, e.g. of ``model.int8.onnx``."""
    return f"familiarity.{graph}.json"


def read_familiarity(models: Path, networks: int = 1, name: str = FAMILIARITY) -> tuple[Familiarity, ...]:
    """What `write_familiarity` wrote; nothing, with a warning, where it is damaged or of other weights.

    Args:
        models: the bundle's folder of weights.
        networks: of how many it has to be: of an ensemble, its members.
        name: of the file.
    """
    path = models / name
    if not path.is_file():
        return ()
    try:
        return _read(path, networks)
    except (OSError, ValueError, LookupError, TypeError, RecursionError, DelineateError) as error:
        reason = str(error) if isinstance(error, DelineateError) else f"it cannot be read ({type(error).__name__})"
        logger.warning(
            f"{path} is not used, so images are not compared with those of the training: {reason}; make it again: "
            "delineate bundle familiarity"
        )
        return ()


def _read(path: Path, networks: int) -> tuple[Familiarity, ...]:
    if path.stat().st_size > MAX_FAMILIARITY:
        raise DelineateError(f"it is larger than {MAX_FAMILIARITY} bytes")
    told = json.loads(path.read_text(encoding="utf-8"))
    if told["format"] != _FORMAT:
        raise DelineateError(f"its format is {told['format']!r:.20}, and {_FORMAT} is known here")
    if told["weights"] != sha256(path.parent / "model.pt"):
        raise DelineateError("it is of other weights than those beside it")
    if (path.parent / SUMS).is_file() and (wrong := check_sums(path.parent, [path.name])):
        raise DelineateError(wrong[0].partition(";")[0])
    if len(told["networks"]) != networks:
        raise DelineateError(f"it is of {len(told['networks'])} networks, and the bundle has {networks}")
    return tuple(map(_of_plain, told["networks"]))


def _as_plain(known: Familiarity) -> dict[str, Any]:
    return {name: _rounded(np.asarray(value).tolist()) for name, value in vars(known).items()}


def _rounded(value: Any) -> Any:
    return [_rounded(each) for each in value] if isinstance(value, list) else float(f"{value:.{_DIGITS}g}")


def _of_plain(told: Mapping[str, Any]) -> Familiarity:
    values = {name: np.asarray(told[name], np.float64) for name in Familiarity.__annotations__}
    count, size = values["directions"].shape
    shapes = {"mean": (size,), "scale": (size,), "directions": (count, size), "variances": (count,)}
    if any(value.shape != shapes.get(name, ()) or not np.isfinite(value).all() for name, value in values.items()):
        raise DelineateError("its numbers are not finite, too few or too many")
    if any((values[name] <= 0).any() for name in ("scale", "variances", "rest", "limit")):
        raise DelineateError("it has a spread or a limit of zero or less")
    rest, limit = (float(values.pop(name)) for name in ("rest", "limit"))
    return Familiarity(**values, rest=rest, limit=limit)  # type: ignore[misc]
