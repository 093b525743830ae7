"""SNIP: saliency before training (Lee, Ajanthan & Torr, ICLR 2019, arXiv 1810.02340)."""

from __future__ import annotations

from typing import ClassVar

from rethinklab.pruners.base import FROM_THE_START
from rethinklab.pruners.saliency import Saliency


class SNIP(Saliency):
    """Removes, before training, the weights to whose removal the loss is least sensitive.

    Score of a weight: |weight times gradient of the loss|, its connection sensitivity up to a
    common factor, on one batch; one threshold for the whole network.
    """

    name: ClassVar[str] = "snip"
    before_training: ClassVar[bool] = True
    regimes: ClassVar[tuple[str, ...]] = FROM_THE_START
