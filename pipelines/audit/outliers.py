"""Values that lie far from those of their set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

_FAR, _LEAST, _FEWEST = 3.5, 2.0, 10


def outliers(values: Sequence[float]) -> Iterator[tuple[int, str]]:
    """Positions of values whose logarithm lies beyond 3.5 robust standard deviations, and at least a factor 2 away.

    The deviation is 1.4826 times the median absolute deviation (Iglewicz and Hoaglin, How to Detect and Handle
    Outliers, 1993). Fewer than 10 values have no outliers.

    Args:
        values: above 0.

    Yields:
        the position, and how many times the median it is: ``"0.1 times"``.
    """
    if len(values) < _FEWEST:
        return
    logs = np.log(values)
    distance = np.abs(logs - np.median(logs))
    far = distance > max(_FAR * 1.4826 * float(np.median(distance)), np.log(_LEAST))
    for index in map(int, np.flatnonzero(far)):
        yield index, f"{values[index] / np.median(values):.2g} times"
