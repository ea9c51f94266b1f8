"""How a cost grows with a number, as the slope of a line on a log-log plot."""

from typing import Any

import numpy as np


def slope(rows: list[dict[str, Any]], x: str, y: str) -> float:
    """Exponent k of y ~ x^k by least squares on the logarithms: 1 is ten times for ten times.

    ``rows`` holds at least two different positive values of ``x``, and positive ones of ``y``.
    """
    fit = np.polyfit(np.log([row[x] for row in rows]), np.log([row[y] for row in rows]), 1)
    return float(fit[0])
