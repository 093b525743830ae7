"""Numbers as text: one form for means with their spread, and one for large counts."""

from __future__ import annotations

import math


def mean_sd(mean: float, sd: float, n: int | None = None) -> str:
    """Such as "93.63 ±0.16 (n 5)"; without the spread where it is NaN, without n where that is
    None."""
    spread = "" if math.isnan(sd) else f" ±{sd:.2f}"
    return f"{mean:.2f}{spread}" + ("" if n is None else f" (n {n})")


def short(count: float) -> str:
    """A count of parameters or multiply-adds, such as "1.5K", "2.40M" or "0.31G"."""
    if count < 1e4:
        return f"{count / 1e3:.1f}K"
    return f"{count / 1e6:.2f}M" if count < 1e9 else f"{count / 1e9:.2f}G"
