"""Hostile bundles, each a change to a good one, against everything that takes a bundle. None of them runs anything."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib.font_manager  # noqa: F401  looks for fonts, with a process, where its cache is another's
import pytest
from typer.testing import CliRunner

from delineate.pipelines.bundling import gate
from delineate.pipelines.bundling.bundles import new_bundle
from delineate.pipelines.bundling.gate import UnverifiedError, admit
from delineate.pipelines.cli import app
from delineate.pipelines.core.errors import DelineateError

Change = Callable[[Path], object]
WORKFLOWS = ("train", "evaluate", "inference")
M = "open('M','w').close()"

# --- text at the end of each workflow ---------------------------------------------------------------------------

EXPRESSIONS = (
    *(M, "__import__('os').system('touch M')", "import os", "from os import system", "eval('1')", "exec('1')"),
    *("(lambda: 1)()", "[x for x in ().__class__.__base__.__subclasses__()]", "torch.os.system('touch M')"),
    *("monai.data.utils.pickle.loads('x')", "torch.load('models/model.pt')", "np.load('x', allow_pickle=True)"),
    *("torch.hub.load('a', 'b')", "monai.apps.download_url('http://127.0.0.1:9', 'M')", "np.fromfile('/etc/passwd')"),
    *(
        "@network_def.__class__",
        "@network_def.eval()",
        "(x := 1)",
        "f'{1}'",
        "getattr(1, 'x')",
        "globals()",
        "print(1)",
    ),
    *("monai.bundle.run('run')", "torch.jit.load('x')", "numpy.ctypeslib.load_library('a', 'b')", "breakpoint()"),
    *("[0] * 9000000000", "max(range(10000000000))", "'%9000000000d' % 1", "list(range(1000000000))", "9 ** 9 ** 9"),
    *(
        "'x' * 1000000000",
        "@image_size * 1000000000",
        "1000000000 * 1000000000 * 1000000000",
        "range(int('999999999'))",
    ),
    *("'/etc' + '/passwd'", "@bundle_root + '/../x'", "@bundle_root[0:1]", "'../x'", "str('~/x')"),
    *("'http:' + '//127.0.0.1:9'", "@nothing", "@::image_size", "@#image_size", "len(@)"),
)
TARGETS = (
    *("os.system", "builtins.eval", "subprocess.Popen", "mypackage.Net", "monai.transforms.Lambda", "torch.load"),
    *("monai.data.PersistentDataset", "monai.data.CacheNTransDataset", "monai.data.LMDBDataset", "monai.data.CSVSaver"),
    *("monai.data.CSVDataset", "monai.data.NPZDictItemDataset", "monai.data.GDSDataset", "monai.data.ImageDataset"),
    *("monai.data.FolderLayout", "monai.data.DatasetFunc", "monai.apps.DecathlonDataset", "monai.apps.MedNISTDataset"),
    *("monai.handlers.LogfileHandler", "monai.handlers.ClassificationSaver", "monai.handlers.CheckpointLoader"),
    *("monai.handlers.MLFlowHandler", "monai.handlers.ClearMLStatsHandler", "monai.handlers.TrtHandler"),
    *("monai.handlers.ProbMapProducer", "monai.transforms.WriteFileMapping", "monai.transforms.SaveClassificationd"),
    *("monai.transforms.TorchVision", "monai.optimizers.LearningRateFinder", "ignite.handlers.DiskSaver"),
    *("ignite.handlers.ModelCheckpoint", "ignite.handlers.Checkpoint", "ignite.handlers.TensorboardLogger"),
    *("monai.losses.PerceptualLoss", "monai.networks.blocks.TextEncoder", "monai.networks.nets.Transchex"),
    *("monai.networks.nets.EfficientNetEncoder", "monai.networks.nets.ResNetEncoder", "monai.networks.nets.FCN"),
    *("monai.networks.nets.EfficientNetBN", "monai.networks.nets.MILModel", "torch.utils.tensorboard.SummaryWriter"),
    *("monai.transforms.SaveImaged", "monai.handlers.TensorBoardStatsHandler", "torch.optim.lr_scheduler.LambdaLR"),
    *("ignite.metrics.FID", "monai.bundle.ConfigParser", "logging.FileHandler", "pathlib.Path", "zipfile.ZipFile"),
)
MAPPINGS = {
    "a writer to an address": "{_target_: torch.utils.tensorboard.SummaryWriter, log_dir: 'simplecache::ftp://127.0.0.1/x'}",
    "a writer outside": "{_target_: torch.utils.tensorboard.SummaryWriter, log_dir: /tmp/x}",
    "a writer above": "{_target_: torch.utils.tensorboard.SummaryWriter, log_dir: \"$@bundle_root + '/../x'\"}",
    "a writer at home": "{_target_: torch.utils.tensorboard.SummaryWriter, log_dir: '~/x'}",
    "a writer into the data": "{_target_: torch.utils.tensorboard.SummaryWriter, log_dir: '@dataset_dir'}",
    "a writer into configs": "{_target_: torch.utils.tensorboard.SummaryWriter, log_dir: \"$@bundle_root+'/configs'\"}",
    "other weights": "{_target_: delineate.pipelines.bundling.load_weights, network: '@net', bundle_root: /tmp}",
    "weights above": "{_target_: delineate.pipelines.bundling.load_weights, network: 1, bundle_root: '@dataset_dir'}",
    "masks outside": "{_target_: delineate.pipelines.inference.MaskWriter, output_dir: /tmp/masks}",
    "a cache outside": "{_target_: delineate.pipelines.loading.caches.DiskDataset, cache_dir: ../cache}",
    "images outside": "{_target_: delineate.pipelines.inference.find_images, source: /etc}",
    "a postfix with a path": "{_target_: monai.transforms.SaveImage, output_dir: '@output_dir', output_postfix: ../x}",
    "names by a layout": "{_target_: monai.transforms.SaveImage, output_dir: '@output_dir', folder_layout: '@x'}",
    "a checkpoint with a path": "{_target_: monai.handlers.CheckpointSaver, save_dir: '@output_dir', file_prefix: /x}",
    "pretrained": "{_target_: monai.networks.nets.DenseNet121, spatial_dims: 2, in_channels: 3, pretrained: true}",
    "a pretrained address": "{_target_: monai.networks.nets.HoVerNet, pretrained_url: 'http://127.0.0.1:9'}",
    "pickles": "{_target_: monai.data.NumpyReader, allow_pickle: true}",
    "a reader anywhere": "{_target_: monai.transforms.LoadImage, reader: os.system}",
    "the debugger": "{_target_: monai.losses.DiceLoss, _mode_: debug}",
    "a target by reference": "{_target_: '@output_dir'}",
    "a target by macro": "{_target_: '%output_dir'}",
    "a target by expression": "{_target_: '$@network_def.forward'}",
    "a required expression": f'{{_target_: monai.losses.DiceLoss, _requires_: "${M}"}}',
    "a disabling expression": f'{{_target_: monai.losses.DiceLoss, _disabled_: "${M}"}}',
    "a description that runs": f'{{_target_: monai.losses.DiceLoss, _desc_: "${M}"}}',
    "another underscore": "{_target_: monai.losses.DiceLoss, _imports_: os}",
    "many workers": "{_target_: monai.data.DataLoader, dataset: 1, num_workers: 100000}",
    "many threads": "{_target_: monai.data.CacheDataset, data: 1, num_workers: 100000}",
    "an absurd width": "{_target_: monai.networks.nets.BasicUNet, features: [100000, 100000, 1, 1, 1, 1]}",
    "an absurd depth": "{_target_: monai.networks.nets.UNet, channels: [4, 8], num_res_units: 1000000}",
    "many layers": f"{{_target_: monai.networks.nets.UNet, channels: {[64] * 100}}}",
    "a linear layer": "{_target_: torch.nn.Linear, in_features: 1000000, out_features: 1000000}",
    "an absurd image": "{_target_: monai.transforms.Resize, spatial_size: [1000000, 1000000]}",
    "an absurd repeat": "{_target_: monai.transforms.RepeatChannel, repeats: 1000000000}",
    "countless windows": "{_target_: monai.inferers.SlidingWindowInferer, roi_size: [8, 8], overlap: 0.999999}",
}
TEXTS = {
    "an absolute path": "x: /etc/passwd",
    "a path above": "x: a/../../b",
    "a path at home": "x: ~/x",
    "an address": "x: s3://bucket/x",
    "a macro to a file": "x: '%/etc/x.json::a'",
    "a macro to a file beside": "x: '%other.yaml::a'",
    "a relative macro": "x: {a: '%::b', b: 1}",
    "a relative macro, old sign": "x: {a: '%#b', b: 1}",
    "a macro of all": "x: '%'",
    "macros of macros": "a: [1, 1]\nb: ['%a', '%a']\nc: ['%b', '%b']",
    "references that double": "\n".join(f'd{i}: ["@d{i + 1}", "@d{i + 1}"]' for i in range(30)) + "\nd30: 1",
    "lists that double": "\n".join(f'd{i}: "$@d{i + 1} + @d{i + 1}"' for i in range(30)) + "\nd30: [1]",
    "numbers that double": "\n".join(f'd{i}: "$@d{i + 1} * @d{i + 1}"' for i in range(30)) + "\nd30: 99",
    "an id _meta_": "_meta_: {}",
    "a key that is a file": "x: {docs/y.json: 1}",
    "a key that runs": f'x: {{"${M}": 1}}',
    "a key with a reference": "x: {'@output_dir': 1}",
    "a key with a separator": "x: {'a::b': 1}",
    "a key with the old separator": "x: {'a#b': 1}",
    "a tag": "x: !!python/object/apply:os.system ['touch M']",
    "an anchor": "x: &a [1]\ny: *a",
    "a merge key": "x: {<<: {a: 1}}",
    "a key twice": "threshold: 0.1",
    "a huge number": f"x: 0x{'f' * 5000}",
    "a line break in Latin-1": "# \u00c5x: 1",
    "nested deeply": "x: " + "[" * 60 + "]" * 60,
    "many items": "x: [" + "1," * 20_000 + "1]",
    "bad references": "\n".join(f"x{i}: '@nothing{i}'" for i in range(1500)),
    "bad targets": "\n".join(f"x{i}: {{_target_: a.b{i}}}" for i in range(800)),
    "much text": "# " + "x" * (300 << 10),
}


def appended(text: str, *workflows: str) -> Change:
    """Add a text to these workflows, or to all."""

    def change(bundle: Path) -> None:
        for name in workflows or WORKFLOWS:
            with (bundle / f"configs/{name}.yaml").open("a", encoding="utf-8") as file:
                file.write(f"\n{text}\n")

    return change


def replaced(old: str, new: str) -> Change:
    """Exchange a line of every workflow that has it."""

    def change(bundle: Path) -> None:
        for name in WORKFLOWS:
            path = bundle / f"configs/{name}.yaml"
            lines = path.read_text().splitlines()
            path.write_text("\n".join(new if line.startswith(old) else line for line in lines))

    return change


def metadata(**entries: Any) -> Change:
    def change(bundle: Path) -> None:
        path = bundle / "configs/metadata.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | entries))

    return change


def written(name: str, content: str | bytes = "x") -> Change:
    def change(bundle: Path) -> None:
        path = bundle / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def sparse(name: str, size: int) -> Change:
    def change(bundle: Path) -> None:
        (bundle / name).parent.mkdir(exist_ok=True)
        with (bundle / name).open("wb") as file:
            file.truncate(size)

    return change


def logging(old: str, new: str) -> Change:
    def change(bundle: Path) -> None:
        path = bundle / "configs/logging.conf"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


def weights(method: int = zipfile.ZIP_STORED, pickle: bytes = b"\x80\x02}q\x00.", **members: bytes) -> Change:
    def change(bundle: Path) -> None:
        (bundle / "models").mkdir()
        with zipfile.ZipFile(bundle / "models/model.pt", "w", method) as archive:
            archive.writestr("model/data.pkl", pickle)
            for name, content in members.items():
                archive.writestr(f"model/{name.replace('__', '/')}", content)

    return change


def tree(bundle: Path) -> None:
    deep = bundle / "docs"
    for _ in range(30):
        deep = deep / "d"
    deep.mkdir(parents=True)


def at_socket(bundle: Path) -> None:
    """A socket's address is short; it is made from within its folder."""
    here = Path.cwd()
    os.chdir(bundle)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("s")
    finally:
        os.chdir(here)


FILES: dict[str, Change] = {
    **{f"the file {name}": written(name) for name in ("torch.py", "a/__init__.py", "x.so", "x.pyc", "x.ipynb", "x.sh")},
    **{
        f"the file {name}": written(name)
        for name in ("sitecustomize.py", "setup.cfg", "a.pkl", "x.npy", "x.pth", ".env")
    },
    "weights elsewhere": written("docs/model.pt"),
    "code as text": written("docs/a.txt", "#!/bin/sh\ntouch M"),
    "a link": lambda bundle: (bundle / "docs/x.md").symlink_to("/etc/passwd"),
    "a linked folder": lambda bundle: (bundle / "docs/more").symlink_to("/"),
    "a linked configuration": lambda bundle: (bundle / "configs/x.yaml").symlink_to("train.yaml"),
    "a pipe": lambda bundle: os.mkfifo(bundle / "docs/x.md"),
    "a pipe for weights": lambda bundle: ((bundle / "models").mkdir(), os.mkfifo(bundle / "models/model.pt")),
    "a socket": at_socket,
    "deep folders": tree,
    "a huge logging.conf": sparse("configs/logging.conf", 2 << 30),
    "huge sums": sparse("models/SHA256SUMS", 2 << 30),
    "huge metadata": sparse("configs/metadata.json", 2 << 30),
    "huge weights": sparse("models/model.pt", 1 << 40),
    "a huge workflow": sparse("configs/train.yaml", 2 << 30),
    "many configurations": lambda bundle: [written(f"configs/x{i}.yaml", "a: 1")(bundle) for i in range(100)],
    "a name that forges a line": written("docs/x\n/bundle: passes\n.py"),
    "a name with an escape": written("docs/\x1b[2K.py"),
    "a log to a file": logging("class = StreamHandler", "class = FileHandler"),
    "a log's arguments": logging("(sys.stdout,)", "('logs/x.log',)"),
    "a log's class": logging("class = StreamHandler", "class = eval"),
    "a log's arguments that run": logging("(sys.stdout,)", f"({M},)"),
    "a log's keywords": logging("args = ", "kwargs = {'filename': 'M'}\nargs = "),
    "a log that rotates": logging("class = StreamHandler", "class = handlers.RotatingFileHandler"),
    "a log's escape": logging("%(message)s", "\x1b]0;%(message)s"),
    "a log's defaults": logging("[loggers]", f"[DEFAULT]\nargs = ({M},)\n[loggers]"),
    "metadata that run": metadata(task=f"${M}"),
    "metadata with a harmless expression": metadata(task="$1"),
    "metadata with a target": metadata(changelog={"_target_": "monai.losses.DiceLoss"}),
    "metadata with a reference": metadata(task="@network_def"),
    "metadata with a macro": metadata(task="%network_def"),
    "metadata with a relative macro": metadata(changelog={"a": "%::b", "b": "x"}),
    "metadata with a file for a key": metadata(**{"docs/x.json": {"a": "x"}}),
    "metadata with many keys": metadata(changelog={str(i): "x" for i in range(20_000)}),
    "metadata with a huge number": metadata(changelog={"a": int("9" * 4000)}),
    "the hole": lambda bundle: (
        metadata(**{"docs/x.json": {"a": "%::b"}})(bundle),
        written("_meta_::docs/x.json", json.dumps({"b": f"${M}"}))(bundle),
        appended("_meta_: {}")(bundle),
        replaced("device:", "device: \"$torch.device('cpu') if [@_meta_] else 1\"")(bundle),
    ),
    "weights that run": weights(pickle=b"cos\nsystem\n(S'touch M'\ntR."),
    "weights that unfold": weights(zipfile.ZIP_DEFLATED, data__0=b"\0" * (1 << 20)),
    "weights with code": weights(code__x=b"import os"),
    "weights that are a pickle": written("models/model.pt", b"cos\nsystem\n(S'touch M'\ntR."),
    "weights without a hash": weights(),
    "sums of one file under many names": written(
        "models/SHA256SUMS", "".join(f"{'0' * 64}  {'./' * i}../configs/train.yaml\n" for i in range(99))
    ),
    "a sparse state": sparse("checkpoints/last.pt", 1 << 40),
    "sums that lead out": written("models/SHA256SUMS", f"{'0' * 64}  ../../x\n"),
    "another root": replaced("bundle_root:", "bundle_root: /tmp"),
    "a root by expression": replaced("bundle_root:", f'bundle_root: "${M}"'),
    "states outside": replaced("ckpt_dir:", "ckpt_dir: /tmp/x"),
    "outputs outside": replaced("output_dir:", "output_dir: ../x"),
    "outputs by an expression": replaced("output_dir:", "output_dir: \"$'/tmp' + '/x'\""),
    "data of the system": replaced("dataset_dir:", "dataset_dir: /etc"),
    "a device that runs": replaced("device:", f'device: "${M}"'),
}
ENDS = {
    **{f"${text}": f"x: {json.dumps('$' + text)}" for text in EXPRESSIONS},
    **{f"target {target}": f"x: {{_target_: {target}}}" for target in TARGETS},
    **{name: f"x: {text}" for name, text in MAPPINGS.items()},
    **TEXTS,
}
# what a command could touch before it asks the gate: text, weights, states, sums, links, pipes, logging, metadata, ids
KINDS = (
    *(f"${M}", "target os.system", "a tag", "a linked configuration", "a pipe for weights", "a huge logging.conf"),
    *("the hole", "weights that run", "weights that are a pickle", "a sparse state", "huge sums", "huge metadata"),
    *("sums that lead out", "a root by expression", "a device that runs", "states outside", "a huge workflow"),
)
HOSTILE: dict[str, Change] = {  # in one workflow, in turn, is enough; those that each command meets are in all
    **{
        name: appended(text, *(() if name in KINDS else [WORKFLOWS[number % 3]]))
        for number, (name, text) in enumerate(ENDS.items())
    },
    **FILES,
}

# --- the bundles, made and verified once ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("hostile")
    good, made = new_bundle(folder / "good", "skin_lesion"), {}
    for number, (name, change) in enumerate(HOSTILE.items()):
        made[name] = Path(shutil.copytree(good, folder / str(number)))
        change(made[name])
    return made


@pytest.fixture(scope="module")
def verified(bundles: dict[str, Path]) -> dict[Path, list[gate.Finding]]:
    return {folder: gate.verify_bundle(folder, False) for folder in bundles.values()}


_seen: list[str] = []
_watching = False
_ACTS = frozenset(
    {"os.system", "subprocess.Popen", "socket.connect", "socket.getaddrinfo", "os.exec", "os.posix_spawn"}
)


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event in _ACTS:
        _seen.append(event)


sys.addaudithook(watch)


@pytest.fixture
def nothing_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No process, no connection, and nothing written where the commands were called."""
    global _watching
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "memory"))
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    _seen.clear()
    _watching = True
    yield
    _watching = False
    assert _seen == []
    assert [path for path in place.rglob("*") if path.name != "datalist.json"] == [place / "data"]


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_something_harmless_in_one_workflow_is_let_in(workflow: str, tmp_path: Path) -> None:
    """So what refuses the others is not that the workflows differ."""
    appended("x: 1", workflow)(new_bundle(tmp_path / "good", "skin_lesion"))
    assert gate.verify_bundle(tmp_path / "good", False) == []


def test_there_are_many() -> None:
    assert len(HOSTILE) >= 120


def test_each_is_refused(bundles: dict[str, Path], verified: dict[Path, list[gate.Finding]]) -> None:
    assert [name for name, folder in bundles.items() if not verified[folder]] == []


def test_what_is_said_of_them_is_short_and_plain(verified: dict[Path, list[gate.Finding]]) -> None:
    said = [str(finding) for findings in verified.values() for finding in findings]
    assert max(map(len, said)) < 4000
    assert all(line.isprintable() for line in said)
    assert max(map(len, verified.values())) <= 101


COMMANDS = {
    "train": ["train", "BUNDLE", "--data", "data", "--out", "out"],
    "train --resume": ["train", "skin_lesion", "--data", "data", "--out", "BUNDLE", "--resume"],
    "compare": ["compare", "BUNDLE", "--data", "data", "--out", "out", "--networks", "unet", "--minutes", "1"],
    "compare --on": ["compare", "BUNDLE", "skin_lesion", "--on", "data", "--out", "out"],
    "evaluate": ["evaluate", "BUNDLE", "--data", "data", "--out", "out"],
    "segment": ["segment", "BUNDLE", "image.png", "--out", "out"],
    "export": ["export", "BUNDLE", "--out", "out"],
}


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, verified: dict[Path, list[gate.Finding]]) -> None:
    monkeypatch.setattr(gate, "verify_bundle", lambda folder, shipping=True: verified[Path(folder)])


@pytest.mark.parametrize("number", range(len(COMMANDS)), ids=COMMANDS)
def test_no_command_runs_any(bundles: dict[str, Path], known: None, nothing_ran: None, number: int) -> None:
    """Each bundle meets one command, each command one of every kind: all pass one gate, which is tried with each."""
    Path("data").mkdir()
    Path("data/datalist.json").write_text(json.dumps({"training": [], "validation": [], "test": []}))
    command = list(COMMANDS.values())[number]
    for name in {*list(bundles)[number :: len(COMMANDS)], *KINDS}:
        bundle = bundles[name]
        done = CliRunner().invoke(app, [str(bundle) if word == "BUNDLE" else word for word in command])
        assert isinstance(done.exception, DelineateError), name
        assert "verification has" in str(done.exception), name
        assert not (bundle / "M").exists(), name


def test_the_gate_itself_lets_none_in(bundles: dict[str, Path], known: None, nothing_ran: None) -> None:
    Path("data").mkdir()
    for bundle in bundles.values():
        with pytest.raises(UnverifiedError):
            admit(bundle)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits of memory here")
def test_verifying_them_all_takes_little_memory(bundles: dict[str, Path]) -> None:
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from delineate.pipelines.bundling.verify import verify_bundle\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "assert all(verify_bundle(Path(name)) for name in sys.argv[1:])"
    )
    large = [folder for name, folder in bundles.items() if "huge" in name or "many" in name or "double" in name]
    subprocess.run([sys.executable, "-c", code, *map(str, large)], check=True, timeout=250)
