"""New weights know of a method only the architecture that it left: such networks are trained once.

Which architecture that is, only the stored plan tells. A "regime" stage with new weights therefore
keeps an address of its own, which rests on the plan, and its training is a "scratch" stage of its
own, which does not: whatever plan leads to it, whichever regime lasts as long, finds it there.
The result of the regime names it in "trained_at" and holds no second copy of the weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from rethinklab.analysis.ledger import Ledger
from rethinklab.experiments.trial import NOT_OF_THE_LARGE, SCHEMA, Stage
from rethinklab.trainers.recipe import Recipe

OF_THE_TASK = ("data", "classes", "model", "options", "model_source", "batch_parts")


def scratch_stage(regime: Stage, network: nn.Module, masks: Mapping[str, Tensor],
                  recipe: Recipe) -> Stage:
    """The training that a "regime" stage with new weights shares. network: as its training finds
    it. recipe: the regime's own, settled."""
    large = regime.spec["plan"]["large"]
    return Stage("scratch", {
        **{name: large[name] for name in OF_THE_TASK if name in large},
        "architecture": architecture(network, masks),
        "recipe": replace(recipe, **NOT_OF_THE_LARGE).identity(),
        "precision": regime.spec["precision"], "seed": regime.spec["seed"]}, regime.source)


def architecture(network: nn.Module, masks: Mapping[str, Tensor]) -> str:
    """16 hexadecimal digits from all that is left of a network without its parameters' values: its
    modules, the parameters' shapes, the buffers (selections of channels are such) and the masks.

    New weights are drawn by shape and place, so which channels of a layer were kept does not
    matter, only how many.
    """
    found = hashlib.sha256(repr((
        [(name, type(module).__name__) for name, module in network.named_modules()],
        [(name, tuple(value.shape), value.dtype) for name, value in network.named_parameters()],
    )).encode())
    for kind, tensors in (("buffer", dict(network.named_buffers())), ("mask", masks)):
        for name, value in sorted(tensors.items()):
            found.update(repr((kind, name, tuple(value.shape), value.dtype)).encode())
            content = value.detach().cpu().contiguous().flatten().view(torch.uint8)
            found.update(content.numpy().data)
    return found.hexdigest()[:16]


def shared_result(regime: Stage, training: Stage, result: Mapping[str, Any]) -> dict[str, Any]:
    """What a "regime" stage stores that shares a training with this result: its numbers, and where
    they are from. The training is one of the stages that it rests on, so that a ledger counts it
    in full for each trial, like the large network."""
    own = {name: value for name, value in result.items() if name not in ("files", "attempts")}
    return {**own, "stage": regime.kind, "address": regime.address,
            "regime": regime.spec["regime"], "trained_at": training.address,
            "needs": [*(need.address for need in regime.needs), training.address],
            "ledger": Ledger().to_dict(), "schema": SCHEMA}
