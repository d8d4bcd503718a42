"""What benchmarks/peers.py compares: each way from an image to its mask, and from a folder of PNG to one of masks.

A network is random, its last layer such that logits spread as those of a trained one do, about 0. All ways divide
pixels by 255, and apply a sigmoid and a threshold of 0.5.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

Pixels = np.ndarray
SIDE = 256
_STAGES = (32, 64, 128, 256, 512, 512, 512)
_NARROW = (64, 48, 32, 24, 16)


class Way(NamedTuple):
    """How masks are made.

    Attributes:
        mask: image (H, W, 3), uint8, to mask (H, W), True where there is something.
        files: segments a folder of PNG into another; ``None`` where the peer has nothing of the kind.
    """

    mask: Callable[[Pixels], Pixels]
    files: Callable[[Path, Path], None] | None = None


def build(name: str) -> nn.Module:
    """A network without its weights: 3 channels in, 1 out."""
    if name.startswith("smp"):
        smp = _smp()
        if name == "smp_resnet50":
            return smp.Unet("resnet50", encoder_weights=None)
        return smp.Unet("tu-tf_efficientnet_lite0", encoder_weights=None, decoder_channels=_NARROW)
    if name == "nnunet_plain":
        from dynamic_network_architectures.architectures.unet import PlainConvUNet

        stages = len(_STAGES)
        named = {"norm_op": nn.InstanceNorm2d, "norm_op_kwargs": {"eps": 1e-5, "affine": True}}
        named |= {"nonlin": nn.LeakyReLU, "nonlin_kwargs": {"inplace": True}}
        strides = [1] + [2] * (stages - 1)
        return PlainConvUNet(3, stages, _STAGES, nn.Conv2d, 3, strides, 2, 1, 2, conv_bias=True, **named)
    from delineate.networks import create_network

    return create_network(name, in_channels=3, out_channels=1, **settings_of(name))


def settings_of(name: str) -> dict[str, Any]:
    """As many parameters as the peer that it is compared with has."""
    return {"encoder": "lite1"} if name == "efficient_lite_unet" else {}


@torch.no_grad()
def make_weights(name: str, image: Pixels) -> dict[str, Any]:
    """Random ones, which call half of the image foreground, most of it clearly."""
    torch.manual_seed(0)
    network = build(name).eval()
    (*_, last) = (one for one in network.modules() if isinstance(one, nn.Conv2d) and one.out_channels == 1)
    assert last.bias is not None
    last.weight *= 2 / network(_tensor(image)).std()
    last.bias -= network(_tensor(image)).median()
    return network.state_dict()


def way_of(way: str, name: str, folder: Path, threads: int) -> Way:
    """One of the ways, ready to be called.

    Args:
        way: the peer, or ``delineate``, and how.
        name: of the network.
        folder: with ``NAME.pt`` and, of ours, the bundle ``NAME``.
        threads: how many it may use.
    """
    torch.set_num_threads(threads)
    peer, _, how = way.partition(" ")
    if peer == "delineate" and (folder / name).is_dir():
        return _delineate(folder / name, how)
    network = build(name).eval()
    network.load_state_dict(torch.load(folder / f"{name}.pt", weights_only=True))
    if peer == "nnunetv2":
        return _nnunet(network, threads, how)
    return {"delineate": _inferer, "smp": _smp_loop, "monai": _monai}[peer](network, how)


def _tensor(image: Pixels) -> torch.Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32) / 255)[None]


def _delineate(bundle: Path, how: str) -> Way:
    """A bundle, as users have it; files as the command segments them."""
    from delineate.pipelines.inference.results import ResultFolder
    from delineate.pipelines.inference.segmenter import Segmenter

    backend, _, precision = (how or "torch auto").partition(" ")
    segmenter = Segmenter(bundle, backend=backend, device="cpu", precision=precision or "auto")

    def mask(image: Pixels) -> Pixels:
        (result,) = segmenter.segment([image])
        return result.mask > 0

    def files(source: Path, out: Path) -> None:
        folder = ResultFolder(out, segmenter.facts, segmenter.thresholds, settings={})
        for result in segmenter.segment([source]):
            folder.write(result)

    return Way(mask, files)


def _inferer(network: nn.Module, how: str) -> Way:
    """Delineate's inferer, of a network that no bundle may name."""
    from delineate.pipelines.inference.inferer import PrecisionInferer

    inferer = PrecisionInferer()

    @torch.no_grad()
    def mask(image: Pixels) -> Pixels:
        return np.asarray(inferer(_tensor(image), network).sigmoid()[0, 0] > 0.5)

    return Way(mask)


def _smp_loop(network: nn.Module, how: str) -> Way:
    """As its examples call it; it has no loop for files."""

    @torch.inference_mode()
    def mask(image: Pixels) -> Pixels:
        with torch.autocast("cpu", torch.bfloat16) if how else nullcontext():
            logits = network(_tensor(image))
        return np.asarray(logits.sigmoid()[0, 0] > 0.5)

    return Way(mask)


def _monai(network: nn.Module, how: str) -> Way:
    """As bundles of the model zoo do it."""
    from monai import transforms as t
    from monai.data import DataLoader, Dataset
    from monai.engines import SupervisedEvaluator
    from monai.inferers import SlidingWindowInferer

    inferer = SlidingWindowInferer(roi_size=(SIDE, SIDE), sw_batch_size=4, overlap=0.5)
    before = t.Compose([t.EnsureChannelFirst(channel_dim=-1), t.ScaleIntensityRange(0, 255, 0, 1, clip=True)])
    after = t.Compose([t.Activations(sigmoid=True), t.AsDiscrete(threshold=0.5)])

    @torch.no_grad()
    def mask(image: Pixels) -> Pixels:
        return np.asarray(after(inferer(before(image)[None], network)[0])[0]) > 0

    def files(source: Path, out: Path) -> None:
        prepared = t.Compose(
            [
                t.LoadImaged("image", reader="PILReader", reverse_indexing=False),
                t.EnsureChannelFirstd("image", channel_dim=-1),
                t.ScaleIntensityRanged("image", 0, 255, 0, 1, clip=True),
            ]
        )
        done = [t.Activationsd("pred", sigmoid=True), t.AsDiscreted("pred", threshold=0.5)]
        written = t.SaveImaged("pred", output_dir=str(out), output_ext="png", scale=255, separate_folder=False)
        items = [{"image": str(path)} for path in sorted(source.iterdir())]
        loader = DataLoader(Dataset(items, prepared), batch_size=1, num_workers=1, multiprocessing_context="fork")
        SupervisedEvaluator(
            device=torch.device("cpu"),
            val_data_loader=loader,  # forked, as Linux does unless it is told otherwise
            network=network,
            inferer=inferer,
            postprocessing=t.Compose([*done, written]),
        ).run()

    return Way(mask, files)


def _nnunet(network: nn.Module, threads: int, how: str) -> Way:
    """Its predictor with a network put in, without mirroring; files in processes, as its command does, or in this one.

    It sets torch's threads to eight, or to what a variable says.
    """
    os.environ["nnUNet_def_n_proc"] = str(threads)  # noqa: SIM112
    os.environ |= {f"nnUNet_{name}": "." for name in ("raw", "preprocessed", "results")}  # else it warns
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(_plans())
    told = {"channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": {"background": 0, "lesion": [1, 2]}}
    told |= {"regions_class_order": [1], "file_ending": ".png", "numTraining": 1}  # one sigmoid, as ours
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    weights = [network.state_dict()]
    predictor.manual_initialization(network, plans, plans.get_configuration("2d"), weights, told, "nnUNetTrainer", None)

    def mask(image: Pixels) -> Pixels:
        pixels = image.transpose(2, 0, 1)[:, None].astype(np.float32)
        return predictor.predict_single_npy_array(pixels, {"spacing": (999, 1, 1)})[0] > 0

    def files(source: Path, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        if how == "in one process":
            predictor.predict_from_files_sequential(str(source), str(out))
        else:
            predictor.predict_from_files(
                str(source), str(out), num_processes_preprocessing=threads, num_processes_segmentation_export=threads
            )

    return Way(mask, files)


def _plans() -> dict[str, Any]:
    """As nnU-Net plans 2D pictures of this size, with its own preparation of RGB."""
    names = ("data", "seg", "probabilities")
    resampling: dict[str, Any] = {f"resampling_fn_{name}": "resample_data_or_seg_to_shape" for name in names}
    for name in names:
        order = {"is_seg": name == "seg", "order": 3 if name == "data" else 1, "order_z": 0, "force_separate_z": None}
        resampling[f"resampling_fn_{name}_kwargs"] = order
    configuration = {
        **{"data_identifier": "2d", "preprocessor_name": "DefaultPreprocessor", "batch_size": 12},
        **{"patch_size": [SIDE, SIDE], "median_image_size_in_voxels": [SIDE, SIDE], "spacing": [1.0, 1.0]},
        **{"normalization_schemes": ["RGBTo01Normalization"] * 3, "use_mask_for_norm": [False] * 3},
        **{"batch_dice": True, "architecture": {"arch_kwargs": {}}},
    }
    return {
        **{"dataset_name": "Dataset999_peers", "plans_name": "nnUNetPlans", "label_manager": "LabelManager"},
        **{"image_reader_writer": "NaturalImage2DIO", "transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2]},
        "foreground_intensity_properties_per_channel": {str(channel): {} for channel in range(3)},
        "configurations": {"2d": configuration | resampling},
    }


def _smp() -> Any:
    """It wants torchvision, whose wheel for CUDA has none of its operators beside a torch for CPUs."""
    if not hasattr(torch.ops.torchvision, "nms"):
        _smp.library = torch.library.Library("torchvision", "DEF")  # type: ignore[attr-defined]
        for name in ("nms", "qnms"):
            _smp.library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[attr-defined]
    import segmentation_models_pytorch

    return segmentation_models_pytorch
