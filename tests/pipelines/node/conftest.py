"""A node's folder, with its queue and a configuration that leaves out the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from node_parts import config_of, open_queue

from delineate.pipelines.node.configuration.config import NodeConfig
from delineate.pipelines.node.queue.queue import Queue


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    queue = open_queue(tmp_path)
    yield queue
    queue.close()


@pytest.fixture
def config(tmp_path: Path) -> NodeConfig:
    return config_of(tmp_path)
