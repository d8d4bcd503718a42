"""Networks trained alike: what was agreed on, what each came to, one table."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bundling.bundles import refuse_occupied
from ..core.errors import DelineateError, counted
from ..core.files import remove_leftovers, write_atomically
from ..core.versions import commit, cpu_name, versions
from ..core.yaml_files import read_yaml
from ..imaging.structures import Structure

if TYPE_CHECKING:
    from ..inference.segmenter import Segmenter

BUDGETED = ("max_epochs", "epoch_length", "val_interval", "patience", "save_interval")
COLUMNS = (
    *("network", "parameters", "macs", "dice", "dice_low", "dice_high", "iou", "latency_ms", "epochs", "steps"),
    *("training_minutes", "precision", "images", "refused", "seed", "dataset_hash", "torch", "monai", "device"),
    *("threads", "commit", "error"),
)
_WARM_UP, _REPEATS = 3, 15

Row = dict[str, Any]


def settle_terms(out: Path, terms: Mapping[str, Any], resume: bool, name: str = "compare.json") -> None:
    """Write down what all trainings in a folder share, or, to resume them, see that it is the same.

    Raises:
        DelineateError: when ``out`` is occupied, or what is to be resumed was never begun or begun on other terms.
    """
    path, text = out / name, json.dumps(terms, indent=2, default=str) + "\n"
    if not resume:
        refuse_occupied(out)
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
        return
    if not path.is_file():
        raise DelineateError(f"{out} holds no comparison to continue; leave out --resume to begin one")
    remove_leftovers(out)
    begun, wanted = json.loads(path.read_text(encoding="utf-8")), json.loads(text)
    changed = [name for name in wanted if wanted[name] != begun.get(name)]
    if changed:
        seen = "; ".join(f"{name}: {begun.get(name)!r}, now {wanted[name]!r}" for name in changed)
        raise DelineateError(
            f"{out} was begun with other {', '.join(changed)} ({seen}); "
            "go on with the same, or begin anew in another folder"
        )


def bundle_hash(bundle: Path) -> str:
    """SHA-256 of a bundle's workflows: another one is another training."""
    texts = [(bundle / "configs" / f"{name}.yaml").read_bytes() for name in ("train", "evaluate", "inference")]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def finished(run: Path) -> Row | None:
    """The row of a run that was trained and measured to the end; else ``None``."""
    path = _row_path(run)
    row: Row | None = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    return row


def measure(run: Path, network: str, data: Path, trust: bool = False) -> Row:
    """Write and return the row of a run that was trained and evaluated into its folder ``evaluation``."""
    import torch

    from ..inference.segmenter import Segmenter

    config = read_yaml(run / "configs" / "train.yaml")
    metrics = json.loads((run / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
    with (run / "logs" / "history.csv").open(encoding="utf-8", newline="") as file:
        epochs = list(csv.DictReader(file))
    segmenter = Segmenter(run, trust=trust)
    (height, width), channels = config["image_size"], config["in_channels"]
    image = torch.rand(1, channels, height, width, device=segmenter.device)
    cuda = segmenter.device.type == "cuda"
    low, high = metrics["mean_dice"]["ci95"] or (None, None)
    row = {
        "network": network,
        "parameters": sum(p.numel() for p in segmenter.network.parameters()),
        "macs": _macs(segmenter.network, height, channels) if height == width else None,
        "dice": metrics["mean_dice"]["value"],
        "dice_low": low,
        "dice_high": high,
        "iou": metrics["mean_iou"]["value"],
        "latency_ms": round(latency_ms(segmenter, image), 2),
        "epochs": len(epochs),
        "steps": len(epochs) * (config["epoch_length"] or _batches(config, data)),
        "training_minutes": round(sum(float(epoch["seconds"]) for epoch in epochs) / 60, 3),
        "precision": _precision(config["precision"], segmenter.device),
        "images": metrics["count"],
        "refused": len(metrics["refused"]),
        "seed": config["seed"],
        "dataset_hash": metrics["data_hash"],
        "torch": versions()["torch"],
        "monai": versions()["monai"],
        "device": torch.cuda.get_device_name() if cuda else cpu_name(),
        "threads": torch.get_num_threads(),
        "commit": commit(),
    }
    if parts := metrics.get("structures"):
        row["structures"] = {name: {"images": part["count"], **part["mean_dice"]} for name, part in parts.items()}
    write_atomically(_row_path(run), (json.dumps(row, indent=2) + "\n").encode())
    return row


def _batches(config: Mapping[str, Any], data: Path) -> int:
    """What an epoch of all the items has."""
    from ..loading.datasets import load_datalist

    items = load_datalist(data, "training", fold=config["fold"], structures=config.get("structures"))
    return math.ceil(len(items) / int(config["batch_size"]))


def latency_ms(segmenter: Segmenter, image: Any) -> float:
    """Median milliseconds from an image (1, C, H, W) to its logits, in the bundle's own precision."""
    import torch

    from .budget import now

    times = []
    with torch.no_grad():
        for _ in range(_WARM_UP + _REPEATS):
            start = now(image.device)
            segmenter.inferer(image, segmenter.network)
            times.append(now(image.device) - start)
    return 1000 * statistics.median(times[_WARM_UP:])


def write_table(out: Path, rows: Sequence[Row], errors: Mapping[str, str], terms: Mapping[str, Any]) -> None:
    """Write ``compare.csv`` and ``compare.md``: the best Dice first, what failed last."""
    text = io.StringIO(newline="")
    dice = {f"dice_{Structure(name).file_name}": name for name in _structures(rows)}
    split = COLUMNS.index("latency_ms")
    columns = [*COLUMNS[:split], *dice, *COLUMNS[split:]]
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for row in best_first(rows):
        writer.writerow(row | {column: row["structures"][name]["value"] for column, name in dice.items()})
    writer.writerows({"network": network, "error": error} for network, error in errors.items())
    write_atomically(out / "compare.csv", text.getvalue().encode())
    write_atomically(out / "compare.md", _markdown(best_first(rows), errors, terms).encode())


def _structures(rows: Sequence[Row]) -> list[str]:
    """The names of the structures, where there are several; all networks have the same."""
    return list(rows[0].get("structures", ())) if rows else []


def best_first(rows: Sequence[Row]) -> list[Row]:
    """The rows, the best Dice first."""
    return sorted(rows, key=lambda row: -row["dice"])


TITLES = ("network", "parameters", "MACs", "Dice", "95 % interval", "IoU", "latency, ms", "epochs", "steps", "minutes")


def cells(row: Row) -> list[str]:
    """The cells of a row under ``TITLES``."""
    return [
        row["network"],
        f"{row['parameters']:,}",
        "" if row["macs"] is None else f"{row['macs']:,}",
        f"{row['dice']:.4f}",
        "none: one group" if row["dice_low"] is None else f"{row['dice_low']:.4f} - {row['dice_high']:.4f}",
        f"{row['iou']:.4f}",
        f"{row['latency_ms']:.1f}",
        str(row["epochs"]),
        str(row["steps"]),
        f"{row['training_minutes']:.2f}",
    ]


def _markdown(rows: Sequence[Row], errors: Mapping[str, str], terms: Mapping[str, Any]) -> str:
    lines = [f"# Networks for {terms['bundle']}, {budget_text(terms)}", ""]
    if rows:
        lines += [*_explanation(rows, terms), "", _line(TITLES), _line(["---", *["---:"] * (len(TITLES) - 1)])]
        lines += [_line(cells(row)) for row in rows]
    if names := _structures(rows):
        lines += [
            "",
            "Dice of each structure, over the images in which it is annotated; above, the mean over structures:",
            "",
        ]
        lines += [_line(["network", *names]), _line(["---", *["---:"] * len(names)])]
        lines += [_line([row["network"], *(_dice(row["structures"][name]) for name in names)]) for row in rows]
    if errors:
        lines += ["", "Not in the table:", "", *(f"- {network}: {error}" for network, error in errors.items())]
    return "\n".join(lines) + "\n"


def _dice(score: Mapping[str, Any]) -> str:
    from ..evaluation.intervals import interval_text, value_text

    return f"{value_text(score)} ({interval_text(score)})"


def _explanation(rows: Sequence[Row], terms: Mapping[str, Any]) -> list[str]:
    from ..evaluation.metrics import empty_policy

    first = rows[0]
    counts = sorted({row["images"] for row in rows})
    images = " or ".join(map(str, counts)) + (" image" if counts == [1] else " images")
    refused = max(row["refused"] for row in rows)
    parts = {name: terms[name] for name in ("loss", "use_unlabelled") if terms.get(name)}
    settings = {**parts, **terms["settings"]}
    return [
        f"Means over the {images} of the split test, each on its own grid"
        + (f"; up to {refused} more could not be scored. " if refused else ". ")
        + "The interval is a 95 % percentile bootstrap over groups. "
        + f"Empty masks: {empty_policy(('mean_dice', 'mean_iou'))}.",
        "",
        f"All share data, split, seed {first['seed']} and settings"
        + (f" ({', '.join(f'{name}={value}' for name, value in settings.items())})" if settings else "")
        + f"; none is tuned alone. {_budget_sentence(terms)} MACs and latency are of one image of the network's size: "
        f"{first['precision']} on {first['device']}, threads: {first['threads']}.",
    ]


def budget_text(terms: Mapping[str, Any]) -> str:
    """``3 minutes each``, or epochs."""
    return (
        f"{terms['minutes']:g} minutes each"
        if terms["minutes"] is not None
        else f"{counted(terms['epochs'], 'epoch')} each"
    )


def _budget_sentence(terms: Mapping[str, Any]) -> str:
    if terms["minutes"] is None:
        return f"Each is trained for {terms['epochs']} epochs, however long these take."
    return (
        f"The budget of {terms['minutes']:g} minutes is for steps and validation; a short trial before the training "
        "turns it into epochs."
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _row_path(run: Path) -> Path:
    return run / "evaluation" / "compare.json"


def _macs(network: Any, side: int, channels: int) -> int:
    from ...networks.facts import count_macs

    return count_macs(network, side, channels)


def _precision(wanted: str, device: Any) -> str:
    from ..inference.inferer import fastest_precision

    return str(fastest_precision(device)[0]).removeprefix("torch.") if wanted == "auto" else wanted
