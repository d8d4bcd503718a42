from __future__ import annotations

from pydoc import locate
from types import ModuleType

import pytest

from delineate.pipelines.bundling.verify.targets import allowed_targets, arguments_problem, own_targets, target_problem

HOSTILE = [
    "os.system",
    "builtins.eval",
    "Compose",
    "UNet",
    "monai.data.utils.pickle.loads",
    "monai.transforms.os.system",
    "monai.transforms.io.array.locate",
    "monai.bundle.ConfigParser",
    "monai.bundle.run",
    "monai.apps.download_url",
    "monai.apps.DecathlonDataset",
    "monai.utils.run_cmd",
    "monai.utils.instantiate",
    "monai.utils.optional_import",
    "monai.transforms.Lambda",
    "monai.transforms.Lambdad",
    "monai.transforms.LambdaDict",
    "monai.transforms.RandLambdad",
    "monai.transforms.TorchVisiond",
    "monai.transforms.RandTorchIOd",
    "monai.transforms.CuCIM",
    "monai.data.load_net_with_metadata",
    "monai.data.LMDBDataset",
    "monai.losses.PerceptualLoss",
    "monai.networks.trt_compile",
    "monai.networks.nets.get_pretrained_resnet_medicalnet",
    "monai.networks.nets.FlexUNetEncoderRegister",
    "monai.handlers.MLFlowHandler",
    "monai.handlers.TrtHandler",
    "torch.load",
    "torch.hub.load",
    "torch.jit.load",
    "torch.optim.lr_scheduler.LambdaLR",
    "torch.utils.data.datapipes.iter.Mapper",
    "torch.utils.cpp_extension.load",
    "torch.nn.modules.module.register_module_forward_hook",
    "ignite.handlers.LambdaStateScheduler",
    "ignite.handlers.WandBLogger",
    "ignite.metrics.MetricsLambda",
    "delineate.pipelines.cli.main",
    "delineate.pipelines.core.files.write_atomically",
    "delineate.pipelines.loading.transforms.Path",
    "delineate.pipelines.loading.transforms.torch.load",
    "delineate.networks._private",
    "delineate.networks.__builtins__",
    "$@network_def.forward",
    "@channels",
    "%channels",
    "monai.transforms.Compose\n",
    " monai.transforms.Compose",
    "",
    None,
    ["monai.transforms.Compose"],
]

NEEDED = [
    "delineate.networks.UltraLightUNet",
    "delineate.pipelines.loading.ReadImaged",
    "ignite.handlers.EarlyStopping",
    "ignite.metrics.Accuracy",
    "monai.data.CacheDataset",
    "monai.handlers.CheckpointSaver",
    "monai.handlers.from_engine",
    "monai.losses.DiceCELoss",
    "monai.transforms.RandFlipd",
    "monai.utils.set_determinism",
    "torch.device",
    "torch.nn.BCEWithLogitsLoss",
    "torch.optim.AdamW",
    "torch.optim.lr_scheduler.OneCycleLR",
    "torch.utils.data.DistributedSampler",
]


PUBLIC = {
    "delineate.networks": """CMUNeXt ClassicUNet DeepLabV3Plus DepthwiseUNet EfficientLiteUNet Ensemble NetworkFacts
        SEDepthwiseUNet
        SEUNet SpatialAttentionUNet TinyUNet UNet UltraLightUNet create_network describe_network list_networks
        load_in_order network_facts""",
    "delineate.networks.monai": "AttentionUnet BasicUNet DynUNet FlexibleUNet MedNeXt SegResNet SwinUNETR UNETR",
    "delineate.pipelines.audit": "refuse_leaks",
    "delineate.pipelines.bundling": "load_weights refuse_training",
    "delineate.pipelines.core": "keep_freed_memory",
    "delineate.pipelines.evaluation": "PerStructure PixelAccuracy ScoreWriter",
    "delineate.pipelines.inference": "load_network MaskWriter PrecisionInferer end_with_refused find_images",
    "delineate.pipelines.loading": """AugmentedDataset EpochSampler ReadImaged ReadMaskd ResizeToGridd StreamDataset
        StructureMasksd cached_dataset load_datalist load_unlabelled""",
    "delineate.pipelines.training": """CheckpointSaver DiceCEBoundaryLoss EarlyStop EpochSeed FamiliarityWriter
        FocalTverskyLoss HistoryLogger MeanTeacher MlflowLogger RunRecord RunReport SharedStatistics StopWhenNotFinite
        StructureLoss WeightAverage copy_network distributed_network join_processes kept_network leave_processes
        one_cycle own_batch_size parameter_groups with_pretrained""",
}
"""Bundles in the field name these: one that goes, or moves, breaks them."""


def problems(**component: object) -> list[str]:
    return [problem for _, problem in arguments_problem(dict(component))]


@pytest.mark.parametrize("target", HOSTILE)
def test_a_target_outside_the_allow_list_is_refused(target: object) -> None:
    assert target_problem(target)


@pytest.mark.parametrize("target", NEEDED)
def test_a_target_that_bundles_need_is_allowed(target: str) -> None:
    assert target_problem(target) is None


@pytest.mark.parametrize("target", ["monai.transforms.RandFlipdd", "RandFlipd", "monai.transforms.array.RandFlipd"])
def test_a_near_miss_is_answered_with_the_closest_target(target: str) -> None:
    assert "did you mean 'monai.transforms.RandFlipd'" in str(target_problem(target))


def test_a_network_of_ones_own_is_refused_with_what_to_do() -> None:
    problem = str(target_problem("mypackage.Net"))
    assert "'delineate networks'" in problem
    assert "--trust" in problem


def test_a_denied_target_is_answered_with_the_reason() -> None:
    assert "it runs a function given to it" in str(target_problem("monai.transforms.Lambdad"))


@pytest.mark.filterwarnings("ignore")  # of the packages while they are imported
def test_every_allowed_target_exists_and_is_no_module() -> None:
    found = {name: locate(name) for name in allowed_targets()}
    assert [name for name, thing in found.items() if thing is None or isinstance(thing, ModuleType)] == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(
            ("_mode_", "debug"),
            ("_mode_", "@mode"),
            ("_mode_", ["default"]),
            ("_debug_", True),
            ("__class__", 1),
        ),
        *(
            ("reader", "os.system"),
            ("reader", ["PILReader", "os.system"]),
            ("reader", "@x"),
            ("reader", "$str('x')"),
        ),
        *(
            ("writer", "os.system"),
            ("merger_cls", "os.system"),
            ("pretrained", True),
            ("pretrained", "@x"),
            ("pretrained", "/a/path"),
        ),
        *(("pretrained_url", "x"), ("weights_only", False), ("weights_only", "@x"), ("allow_pickle", True)),
    ],
)
def test_an_argument_that_opens_a_door_is_refused(key: str, value: object) -> None:
    assert [found for found, _ in arguments_problem({"x": 1, key: value})] == [key]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(
            ("_mode_", "callable"),
            ("_disabled_", True),
            ("_requires_", "@x"),
            ("_desc_", "x"),
            ("pretrained", False),
            ("pretrained", "imagenet"),  # ours, which downloads nothing
            ("pretrained", "@pretrained"),
        ),
        *(
            ("reader", "PILReader"),
            ("reader", ["PILReader", "ITKReader"]),
            ("reader", None),
            ("weights_only", True),
        ),
        *(
            ("reader", {"_target_": "monai.data.PILReader"}),
            ("merger_cls", "AvgMerger"),
            ("allow_pickle", False),
        ),
    ],
)
def test_a_plain_argument_is_allowed(key: str, value: object) -> None:
    assert problems(**{key: value}) == []


@pytest.mark.parametrize("value", [True, "imagenet", "@pretrained"])
def test_a_network_of_others_fetches_no_weights(value: object) -> None:
    assert problems(_target_="monai.networks.nets.FlexibleUNet", pretrained=value)


def test_a_network_that_downloads_by_default_has_to_be_told_not_to() -> None:
    target = "monai.networks.nets.EfficientNetBN"
    assert "add pretrained: false" in problems(_target_=target)[0]
    assert problems(_target_=target, pretrained=False) == []


def test_our_public_names_are_these() -> None:
    assert set(own_targets()) == {f"{package}.{name}" for package, names in PUBLIC.items() for name in names.split()}


def test_each_of_our_public_names_is_found_as_monai_looks_for_it() -> None:
    assert not [name for name in own_targets() if locate(name) is None]


def test_a_module_of_ours_is_no_public_name() -> None:
    problem = str(target_problem("delineate.pipelines.loading.transforms.ReadImaged"))
    assert "it is called 'delineate.pipelines.loading.ReadImaged' now; delineate bundle update" in problem
