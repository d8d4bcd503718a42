"""The loss of several structures, of which some may lack a reference."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from ..core.errors import DelineateError
from ..imaging.structures import UNANNOTATED


class StructureLoss(nn.Module):
    """A loss of MONAI or torch over several structures; where nobody annotated one, its plane counts for nothing.

    Where structures may overlap, each annotated plane is a binary problem of its own: the loss gets one channel, as if
    the planes were images. Where they exclude each other, it gets all channels, background first, and one-hot
    references. A structure without annotation may lie anywhere in what is called background there, so its probability
    is added to that of the background (marginal loss): Shi G et al. Marginal loss and exclusion loss for partially
    supervised multi-organ segmentation. Med Image Anal 2021, https://doi.org/10.1016/j.media.2021.101979.

    Of a single structure that is annotated in each image, this is the loss itself.

    Args:
        loss: of logits and masks 0/1, both (B, C, H, W), to a mean: binary (``sigmoid=True``) where structures may
            overlap, else over channels (``softmax=True``).
        exclusive: whether no pixel is of two structures.
    """

    def __init__(self, loss: nn.Module, exclusive: bool = False) -> None:
        super().__init__()
        self.loss, self.exclusive, self._judged = loss, exclusive, False

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Loss of a batch; 0, with a gradient of 0, where nothing is annotated.

        Args:
            logits: (B, S, H, W) for S structures; exclusive (B, S + 1, H, W), background first.
            label: (B, S, H, W), 0/1, or 255 in the whole plane of a structure that is not annotated.

        Raises:
            DelineateError: channels and planes do not match, or the loss is not for such structures.
        """
        planes, channels = label.shape[1], logits.shape[1]
        if channels != planes + self.exclusive:
            needed = "one more for the background" if self.exclusive else "one each"
            raise DelineateError(
                f"the network has {channels} channels for {planes} structures; set out_channels to {needed}"
            )
        if not self._judged:
            _refuse_unfit(self.loss, self.exclusive, channels, logits.device)
            self._judged = True
        annotated = label[..., 0, 0] != UNANNOTATED
        return (self._marginal if self.exclusive else self._binary)(logits, label, annotated)

    def _binary(self, logits: torch.Tensor, label: torch.Tensor, annotated: torch.Tensor) -> torch.Tensor:
        whole = bool(annotated.all())
        if whole and label.shape[1] == 1:
            return torch.as_tensor(self.loss(logits, label))
        logits, label = (one.flatten(0, 1)[:, None] for one in (logits, label))
        if not whole:
            logits, label = (one[annotated.flatten()] for one in (logits, label))
        return torch.as_tensor(self.loss(logits, label)) if len(logits) else logits.sum()

    def _marginal(self, logits: torch.Tensor, label: torch.Tensor, annotated: torch.Tensor) -> torch.Tensor:
        """Images that have the same structures annotated share channels, so they are judged together."""
        losses, counts = [logits[:0].sum()], [0]
        for known in torch.unique(annotated, dim=0):
            alike = (annotated == known).all(1)
            if known.any():
                merged = torch.cat([torch.ones_like(known[:1]), ~known])
                background = logits[alike][:, merged].logsumexp(1, keepdim=True)
                shares = torch.cat([background, logits[alike][:, ~merged]], 1)
                losses.append(self.loss(shares, _one_hot(label[alike][:, known]).to(shares)))
                counts.append(int(alike.sum()))
        weights = torch.tensor(counts, device=logits.device) / max(sum(counts), 1)
        return (torch.stack(losses) * weights).sum()


def _one_hot(planes: torch.Tensor) -> torch.Tensor:
    """Planes (B, S, H, W), background first; of a pixel on which resizing made two meet, the first."""
    earlier = planes.cumsum(1) - planes
    return torch.cat([(planes == 0).all(1, keepdim=True), (planes > 0) & (earlier == 0)], 1)


def _refuse_unfit(loss: nn.Module, exclusive: bool, channels: int, device: torch.device) -> None:
    """Try the loss on right and wrong logits: it must tell them apart, and compare channels only where exclusive.

    Cross entropy over one channel is always 0, and nothing would be learned; a binary loss of exclusive structures
    trains another thing than the softmax that makes the masks.
    """
    reference = torch.eye(channels if exclusive else 2, device=device).repeat_interleave(2, 1)[None, :, None]
    reference = reference if exclusive else reference[:, :1]
    right = 40 * reference - 20
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            best, worst, raised = (float(loss(x, reference)) for x in (right, -right, right + 40))
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise _unfit(loss, exclusive, f" ({' '.join(str(error).split())[:100]})") from error
    if not -1e-3 < best < worst or (exclusive and abs(raised - best) > 1e-3):
        raise _unfit(loss, exclusive)


def _unfit(loss: nn.Module, exclusive: bool, reason: str = "") -> DelineateError:
    kind, name = ("are exclusive", "ce") if exclusive else ("may overlap", "bce")
    argument = "softmax=True" if exclusive else "sigmoid=True"
    return DelineateError(
        f"the loss {type(loss).__name__} is not for structures that {kind}{reason}; "
        f"use --loss {name} or dice_bce, or a loss with {argument}"
    )
