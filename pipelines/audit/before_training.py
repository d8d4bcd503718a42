"""The brief look at a data set that every training begins with."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from ..core.errors import DelineateError
from ..datasets.datalist import Datalist
from ..datasets.splitting.splits import FRACTIONS, Plan
from .pairs import quick_leaks

logger = logging.getLogger(__name__)


def refuse_leaks(dataset_dir: str | Path, allow_leaks: bool = False, mention_audit: bool = True) -> None:
    """Log what the last audit found, and raise where a group or a duplicate stands on both sides of a split.

    Args:
        dataset_dir: the data set's folder.
        allow_leaks: log leaks instead of raising.
        mention_audit: log what the last audit found, or that there was none; of a fold's data set nothing, as it is
            the data set that was divided which is audited.

    Raises:
        DelineateError: there is a leak that is neither accepted nor allowed.
        InputError: ``accepted.yaml`` is not as it should be.
    """
    folder = Path(dataset_dir)
    if not (folder / "datalist.json").is_file():
        return  # load_datalist says so
    if mention_audit and "cross_validation" not in Datalist.read(folder).more:  # its images are those of another
        logger.info(last_audit(folder))
    leaks = quick_leaks(folder)
    for leak in leaks:
        logger.warning(f"leak: {leak.detail}: {', '.join(leak.items)}")
    if leaks and not allow_leaks:
        raise DelineateError(
            f"{folder} leaks: {leaks[0].detail} ({len(leaks)} in all, named in the log); scores would flatter. "
            f"Split it again: {split_command(folder)}; or train all the same, on record: --allow-leaks"
        )


def split_command(folder: Path) -> str:
    """What splits a data set anew by the plan it has, so that what is known to repeat stays together."""
    datalist = Datalist.read(folder)
    plan = datalist.plan or Plan()
    options = {
        "--split": ",".join(map(str, plan.fractions)) if plan.fractions != FRACTIONS else None,
        "--folds": plan.folds,
        "--seeds": plan.seed or None,
    }
    given = [f" {option} {value}" for option, value in options.items() if value is not None]
    given += [" --official"] if datalist.official_split else []
    return f"delineate data split {folder} --out NEW{''.join(given)}"


def last_audit(folder: Path) -> str:
    """One line on the audit of this very data set."""
    datalist = Datalist.read(folder)
    try:
        audit = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        audit = {}
    if audit.get("dataset_hash") != datalist.hash:
        unknown = f"{folder} has not been audited since it was indexed"
        return f"{unknown}; to look for duplicates and leaks: delineate data audit {folder}"
    counts = [f"{kind} {number['problems']}" for kind, number in audit["counts"].items() if number["problems"]]
    return f"audit of {folder}: {', '.join(counts) or 'no open problems'}; see audit.html"
