"""How much each layer can lose: accuracy with the smallest filters of one layer silent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from rethinklab.data import ImageData
from rethinklab.errors import unknown_name
from rethinklab.pruners.cutting.probe import survey
from rethinklab.pruners.l1 import L1Norm
from rethinklab.pruners.plan import Plan
from rethinklab.pruners.targets import kept_count
from rethinklab.trainers.evaluate import evaluate
from rethinklab.values import listed

if TYPE_CHECKING:
    import pandas as pd

RATIOS = (0.0, 0.25, 0.5, 0.75, 0.9)


def sensitivity(model: nn.Module, data: ImageData, ratios: Sequence[float] = RATIOS,
                layers: Sequence[str] | None = None, *, fraction: float = 0.1,
                seed: int = 0) -> pd.DataFrame:
    """Accuracy (a fraction) with the lowest-L1 filters of one layer at a time set to zero, no
    retraining: a row for each layer and ratio, with columns layer, ratio and accuracy.

    model: trained on `data.hold_out(fraction, seed)`. data: the whole task, from which the same
    part is held out again here: the scan reads those training images and never the test images,
    since ratios are chosen by it. ratios: shares of a layer's filters to silence, 0 to below 1.
    layers: names, by default every convolution that can be pruned.
    Raises PlanError for a layer that cannot be pruned or a ratio that would empty one.
    Source: Li et al. (ICLR 2017), section 3.2.
    """
    import pandas as pd

    held = data.hold_out(fraction, seed)
    pruner = L1Norm(0.5)  # for its score; the ratio asked for is set below
    widths = {name: layer.width for name, layer in survey(model, data.input_shape).prunable.items()
              if pruner.prunes(model.get_submodule(name))}
    rows = []
    for name in widths if layers is None else layers:
        if name not in widths:
            raise unknown_name("layer that can be pruned", name, widths)
        with torch.no_grad():
            order = torch.argsort(pruner.score(model.get_submodule(name)), stable=True).tolist()
        for ratio in listed(ratios) or ():
            count = kept_count(float(ratio), widths[name], name)
            plan = Plan(pruner.name, {name: ratio}, data.input_shape, {name: widths[name]},
                        {name: tuple(sorted(order[len(order) - count:]))})
            accuracy, _ = evaluate(plan.silence(model), held)
            rows.append({"layer": name, "ratio": float(ratio), "accuracy": accuracy})
    frame = pd.DataFrame(rows, columns=["layer", "ratio", "accuracy"])
    frame.attrs["label"] = (f"{data.name}, {len(held.test):,} held-out training images; "
                            "no retraining")
    return frame
