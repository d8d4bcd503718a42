"""Images without masks, for a training that learns from these, too."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import DelineateError, counted
from ..datasets.datalist import Datalist
from ..datasets.unlabelled import unlabelled_for_training
from .datasets import Fields, compare_slicing, fields_of, is_there

logger = logging.getLogger(__name__)


def load_unlabelled(
    dataset_dir: str | Path, fold: int | None = None, slicing: Mapping[str, Any] | None = None
) -> list[Fields]:
    """The unlabelled items of a data set that a training may see, with absolute paths.

    Those that belong to, or show the same as, a validation or test image are left out; how many is logged.

    Args:
        dataset_dir: folder that holds ``datalist.json``, as ``delineate data index`` writes it.
        fold: of a data set with folds, the one that is the validation.
        slicing: how the items will be read; a data set that was cut otherwise is refused. Not compared where ``None``.

    Returns:
        items as of :func:`delineate.pipelines.loading.load_datalist`, without label.

    Raises:
        DelineateError: there is no datalist, ``slicing`` differs, or no image without a label is left.
        InputError: the unlabelled images were not indexed.
    """
    datalist = Datalist.read(dataset_dir)
    compare_slicing(datalist, slicing)
    kept, left_out = unlabelled_for_training(datalist, fold)
    items = [fields_of(item) for item in kept if is_there(item)]
    because = "they belong to validation or test images, or show the same"
    if not items:
        reason = f"has {counted(left_out, 'image')} without masks, but {because}" if left_out else "has no such images"
        raise DelineateError(
            f"--use-unlabelled learns from images without masks, and {datalist.path} {reason}; index images without "
            "masks, too (delineate data index --unlabelled), or leave out --use-unlabelled"
        )
    logger.info(
        f"{counted(len(items), 'image')} without masks used"
        + (f", {left_out} left out, because {because}" if left_out else "")
    )
    return items
