"""One network trained by several processes, each with a share of every batch: configs/multi_gpu_train.yaml."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..core.cores import usable_cores
from ..core.errors import DelineateError, WrongValueError, counted
from ..core.ranks import local_process_count, mean_over_processes, process_count, rank

_START = "torchrun --standalone --nproc_per_node=2 -m monai.bundle run ..., or delineate train ... --processes 2"


def join_processes(device: str | torch.device, backend: str | None = None) -> int:
    """Join the other processes that torchrun has started; all but the first say nothing from then on.

    On a GPU this process uses the one of its own number on this machine; on a CPU an equal share of the cores.

    Args:
        device: on which they compute.
        backend: how they exchange tensors, ``"nccl"`` or ``"gloo"``; by nccl between GPUs and gloo elsewhere where
            ``None``.

    Returns:
        the number of this process, from 0.

    Raises:
        DelineateError: nobody started several processes, or there are fewer GPUs than processes.
    """
    if not dist.is_initialized():
        if "RANK" not in os.environ:
            raise DelineateError(f"configs/multi_gpu_train.yaml is for several processes: start them by {_START}")
        on_gpu = torch.device(device).type == "cuda"
        if on_gpu:
            _take_gpu(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group(backend or ("nccl" if on_gpu else "gloo"))
        if not on_gpu and not os.environ.get("OMP_NUM_THREADS"):
            torch.set_num_threads(max(1, usable_cores() // local_process_count()))
        if rank() > 0:
            logging.disable(logging.ERROR)
    return rank()


def _take_gpu(number: int) -> None:
    if number >= torch.cuda.device_count():
        raise DelineateError(
            f"there are {counted(torch.cuda.device_count(), 'GPU')} and at least {number + 1} processes; start as many "
            "as there are GPUs, or compute on the CPU: device=cpu"
        )
    torch.cuda.set_device(number)


def leave_processes() -> None:
    """Part from the other processes, when the training has ended."""
    if dist.is_initialized():
        dist.destroy_process_group()
        logging.disable(logging.NOTSET)


def own_batch_size(batch_size: int) -> int:
    """This process's share of a batch.

    Raises:
        WrongValueError: it cannot be divided equally.
    """
    own, left = divmod(batch_size, process_count())
    if left:
        raise WrongValueError(
            f"batch_size is {batch_size}, for {process_count()} processes; set a multiple of {process_count()}, it is "
            "that of all together"
        )
    return own


def distributed_network(network: nn.Module) -> DistributedDataParallel:
    """The network as each process trains it, with the mean of all processes' gradients.

    On GPUs batch normalisation takes the statistics of the whole batch; on CPUs, for which torch has no such thing,
    those of a process's share.
    """
    if next(network.parameters()).is_cuda:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]  # in place
    laid_out = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # gradients keep its layout
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch 2.13: another name, which 2.8 does not know
        return DistributedDataParallel(laid_out, broadcast_buffers=False)  # `SharedStatistics` takes their mean


class SharedStatistics:
    """Makes the running statistics of networks the mean over all processes, before they are validated and saved.

    Args:
        networks: those that are trained or follow it.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.networks = networks

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer, before the validation."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, _: Engine) -> None:
        """Take the mean; whole numbers count steps, and are alike."""
        if process_count() > 1:
            for buffer in {id(b): b for network in self.networks for b in network.buffers()}.values():
                if buffer.is_floating_point():
                    buffer.copy_(mean_over_processes(buffer))
