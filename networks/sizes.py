"""Which image sizes a network takes."""

from __future__ import annotations

import torch

from ..errors import WrongValueError


def next_size(pixels: int, smallest: int, divisor: int) -> int:
    """The first side length of at least ``pixels`` among ``smallest``, ``smallest + divisor``, and so on."""
    return smallest + max(0, (pixels - smallest + divisor - 1) // divisor) * divisor


def check_size(image: torch.Tensor, smallest: int, divisor: int = 1, network: str = "this network") -> None:
    """Refuse an image whose sides the network can't take.

    Args:
        image: of shape ``(B, C, H, W)`` or ``(B, C, H, W, D)``.
        smallest: pixels of the smallest side.
        divisor: a side has ``smallest`` pixels plus a multiple of this.
        network: what the message calls it.

    Raises:
        WrongValueError: naming the next size that is valid.
    """
    for pixels in image.shape[2:]:
        if pixels < smallest or (pixels - smallest) % divisor != 0:
            valid = [next_size(n, smallest, divisor) for n in image.shape[2:]]
            step = f" plus a multiple of {divisor}" if divisor > 1 else " or more"
            raise WrongValueError(
                f"image is {list(image.shape[2:])} pixels, {network} needs {smallest}{step} a side; "
                f"resize or pad it to {valid}"
            )


def fit_size(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """``x`` (B, C, h, w) continued by its last row and column, or cut, to the H and W of ``like``."""
    if _exporting():  # one graph for every size: no branch on it
        for dim in range(2, x.dim()):
            x = _select(x, dim, torch.arange(like.shape[dim]).clamp(max=x.shape[dim] - 1))
        return x
    if x.shape[2:] == like.shape[2:]:
        return x
    pad: list[int] = []
    for i in range(x.dim() - 1, 1, -1):
        pad += [0, like.shape[i] - x.shape[i]]
    return torch.nn.functional.pad(x, pad, mode="replicate")


def crop_centre(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The centre of ``x`` (B, C, H, W), of the h and w of ``like``."""
    for dim in range(2, x.dim()):
        first, count = (x.shape[dim] - like.shape[dim]) // 2, like.shape[dim]
        # exported, narrow would put bounds on the size
        x = _select(x, dim, torch.arange(count) + first) if _exporting() else x.narrow(dim, first, count)
    return x


def mirror_pad(x: torch.Tensor, total: list[int]) -> torch.Tensor:
    """``x`` (B, C, H, W) continued by its mirror image, as often as it takes.

    Args:
        x: the image; its border pixels are not repeated.
        total: pixels to add to each axis, half of them in front.
    """
    for dim, added in enumerate(total, start=2):
        period = torch.full((1,), max(2 * x.shape[dim] - 2, 1))
        place = (torch.arange(x.shape[dim] + added) - added // 2) % period
        x = _select(x, dim, torch.minimum(place, period - place))
    return x


def _select(x: torch.Tensor, dim: int, places: torch.Tensor) -> torch.Tensor:
    return x.index_select(dim, places.to(x.device))


def _exporting() -> bool:
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        return False
    else:  # without the else TorchScript would compile this, too
        return torch.compiler.is_exporting()
