"""Weights in half precision: for a repository or a wheel, where every copy of them is kept for ever."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from ..bundling.verify.listing import FAMILIARITY
from ..core.errors import DelineateError
from ..core.sums import replacing_listed
from ..training.familiarity import learn_familiarity
from ..training.states import write_state


def halve(bundle: Path, network: nn.Module, data: Path | None) -> None:
    """Store a bundle's kernels in float16, half the size, and learn anew what images these weights know.

    Vectors (biases, batch normalisation) stay in float32. Loading makes float32 of all again, and computing is as ever.

    Args:
        bundle: a folder that was let in.
        network: its own, with its weights.
        data: the data set of the training.

    Raises:
        DelineateError: images are compared with those of the training, and their data set is not given.
    """
    state, known = network.state_dict(), bundle / "models" / FAMILIARITY
    kernels = {name: one.half() for name, one in state.items() if one.is_floating_point() and one.ndim > 1}
    if all(torch.equal(one.float(), state[name]) for name, one in kernels.items()):
        return  # it was published so before
    compared = known.is_file()
    if compared and data is None:
        raise DelineateError(
            "the run says what images its weights know, which must be learnt anew of those in half "
            "precision; name the data set of the training with --data"
        )
    known.unlink(missing_ok=True)
    with replacing_listed(bundle / "models" / "model.pt", alone=True) as temporary:
        write_state({**state, **kernels}, temporary)
    if compared and data:
        learn_familiarity(bundle, data)
