"""Items read one after the other, whatever prepares them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from functools import partial
from typing import Any

from ..core.ahead import Attempts, one_by_one
from ..core.errors import InputError
from ..imaging.item import Item

logger = logging.getLogger(__name__)
Fields = dict[str, Any]


class Stream:
    """Items read one after the other; a refused one is logged by name and the rest goes on.

    ``refused`` lists what was refused so far, ``position`` counts the items so far, of ``total``, where that is known.

    Args:
        data: items; those of `find_images` bring along what was refused while they were looked for.
        transform: reads and prepares an item.
        on_error: called with each ``InputError``; logs it where ``None``.
        skip: asked of each item before it is read; where it says yes, the item is passed over.
        run: begins items before they are asked for, in place of ``transform``; as `ahead`.
    """

    def __init__(
        self,
        data: Iterable[Fields],
        transform: Callable[[Fields], Any],
        on_error: Callable[[InputError], None] | None = None,
        skip: Callable[[Item], bool] | None = None,
        run: Callable[[Iterable[Fields]], Attempts[Fields, Any]] | None = None,
    ) -> None:
        self.data, self.transform, self.skip = data, transform, skip
        self.on_error = on_error or (lambda error: logger.error(str(error)))
        self.run = run or partial(one_by_one, transform)
        self.refused: list[InputError] = []
        self.position = 0

    @property
    def total(self) -> int:
        """How many items there are; of an iterator as many as were seen."""
        return len(self.data) if isinstance(self.data, Sized) else self.position

    def __iter__(self) -> Iterator[Any]:
        self.refused, self.position = list(getattr(self.data, "refused", [])), 0
        refused_volumes: set[str] = set()  # one refusal a volume is enough
        numbers: deque[int] = deque()  # of the items that were begun

        def wanted() -> Iterator[Fields]:
            for number, item in enumerate(self.data, start=1):
                if _volume_of(item) not in refused_volumes and not (self.skip and self.skip(Item.from_fields(item))):
                    numbers.append(number)
                    yield item

        for item, attempt in self.run(wanted()):
            self.position = numbers.popleft()
            if (volume := _volume_of(item)) in refused_volumes:
                continue
            try:
                ready = attempt()
            except Exception as error:
                cause = refusal(error)
                if cause is None:
                    raise
                self.refused.append(cause)
                self.on_error(cause)
                refused_volumes |= {volume} if volume else set()
                continue
            yield ready


def _volume_of(item: Fields) -> str | None:
    return f"{item['image']} {item.get('series')}" if "slices" in item else None


def refusal(error: BaseException | None) -> InputError | None:
    """The ``InputError`` that ``error`` is or was raised from: MONAI wraps what its transforms raise."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__ or error.__context__
    return error
