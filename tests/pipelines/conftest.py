from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from paired_pictures import make_paired
from PIL import Image
from small_training import SMALL_TRAINING

if TYPE_CHECKING:
    from monai.transforms import Compose


@pytest.fixture
def paired_source(tmp_path: Path) -> Path:
    """A data set of ten pictures, a to j, to index."""
    return make_paired(tmp_path / "source")


@pytest.fixture
def cache_items(tmp_path: Path) -> list[dict[str, Any]]:
    """Seven pictures with masks, a to g, to cache."""
    rng = np.random.default_rng(0)
    found = []
    for name in "abcdefg":
        image, mask = tmp_path / f"{name}.png", tmp_path / f"{name}_mask.png"
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(image)
        Image.fromarray(rng.integers(0, 2, (20, 30), dtype=np.uint8) * 255).save(mask)
        found.append({"image": str(image), "label": str(mask), "group": name})
    return found


@pytest.fixture
def cache_way() -> Compose:
    """What training does before the cache."""
    from cache_parts import make_way  # here, as MONAI takes seconds to import and most tests beside do without

    return make_way()


@pytest.fixture(scope="session")
def phantom_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of twelve phantoms; nothing may write into it."""
    from delineate.pipelines.datasets.index import index_dataset
    from delineate.pipelines.phantoms.images import write_phantoms

    folder = tmp_path_factory.mktemp("data")
    write_phantoms(folder / "phantoms", 12)
    index_dataset(folder / "phantoms", out=folder / "dataset")
    return folder / "dataset"


@pytest.fixture(scope="session")
def phantom_run(phantom_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch on it; nothing may write into it."""
    from delineate.pipelines.training.workflow import train

    out = tmp_path_factory.mktemp("runs") / "skin"
    return train("skin_lesion", phantom_data, out, network="ultra_light_unet", settings=SMALL_TRAINING)
