"""Checks of notebook 05."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rethinklab.notebook.checks.common import (
    UNANSWERED,
    Unanswered,
    answered,
    demand,
    kind,
    near,
    number,
    refuse,
    returned,
)
from rethinklab.pruners.plan import Plan
from rethinklab.pruners.slimming import SparsityPenalty
from rethinklab.values import listed


def smallest_share(answer: Any, plan: Plan) -> str:
    """The layer of which the plan keeps the smallest share of the channels.

    Raises Wrong for the layer with the fewest channels left, the largest share, or a name that
    the plan does not have.
    """
    answered(answer)
    kept = plan.kept_widths
    demand(isinstance(answer, str) and answer in kept,
           f"The answer must be the name of a layer in the plan, such as {next(iter(kept))!r}, "
           f"not {answer!r}.")
    share = {name: count / plan.widths[name] for name, count in kept.items()}
    least, most = min(share.values()), max(share.values())
    if share[answer] > least:
        refuse(kept[answer] == min(kept.values()),
               f"{answer} has the fewest channels left, but it was narrow before. Divide what is "
               "kept by the width before.")
        lost = {name: plan.widths[name] - count for name, count in kept.items()}
        refuse(lost[answer] == max(lost.values()),
               f"{answer} loses the most channels in number, but it was wide before. Divide what "
               "is kept by the width before.")
        refuse(share[answer] == most, f"{answer} keeps the largest share; look for the smallest.")
        refuse(True, f"{answer} keeps {share[answer]:.0%}, and another layer keeps less.")
    return f"{answer} keeps {kept[answer]} of {plan.widths[answer]} channels, {least:.0%}."


def reach(answer: Any, strength: float, rates: Sequence[float], steps: int,
          momentum: float = 0.9) -> str:
    """How far the penalty alone can move a scale in a training run.

    rates: the learning rate of each epoch. steps: in an epoch. momentum: of the optimiser, which
    lets each push act 1 / (1 - momentum) times in the end.
    Raises Wrong that names the factor that was left out.
    """
    value = number(answer)
    plain = strength * steps * sum(rates)
    full = plain / (1 - momentum)
    refuse(near(value, plain), "Momentum is missing: a push goes on acting in later steps, "
                                f"1 / (1 - {momentum:g}) times as much in the end.")
    refuse(near(value, plain * momentum), "Momentum multiplies by 1 / (1 - momentum), not by "
                                           "momentum itself.")
    refuse(near(value, full / steps), "There are many steps in an epoch, and each of them "
                                       "pushes.")
    refuse(near(value, full * len(rates) * rates[0] / sum(rates)) and len(set(rates)) > 1,
           "The learning rate falls during the run; add up the rates of the epochs instead of "
           "taking the first for all.")
    refuse(near(value, full / strength), "The strength is missing: the gradient of the penalty "
                                          f"is {strength:g} times a sign.")
    demand(near(value, full),
           "Multiply four things: the strength, the steps of an epoch, the sum of the learning "
           "rates of all epochs, and what momentum makes of a push.")
    return (f"the penalty can move a scale by {full:.2f} in this run. Only where that is more than "
            "the scale's own size can the penalty by itself bring it to zero.")


def each_layer(answer: Any) -> str:
    """survivors(scales, share): in each layer by itself, the channels above the layer's threshold,
    which is the entry number int(share * channels) of its sorted magnitudes.

    Raises Wrong for one threshold for all layers, signed values, the wrong side, or another form.
    """
    answered(answer)
    scales = _layers()
    found = answer({name: own.clone() for name, own in scales.items()}, 0.5)
    returned(found)
    demand(isinstance(found, Mapping) and set(found) == set(scales),
           "The function must give a dictionary with an entry for each layer, as `survivors` "
           f"does, not {kind(found)}.")
    made = {name: _listed(kept, name) for name, kept in found.items()}
    for share in (0.5, 0.25):
        if share != 0.5:
            made = {name: _listed(kept, name) for name, kept in answer(scales, share).items()}
        magnitudes = {name: own.abs() for name, own in scales.items()}
        wanted = {name: _above(own, own, share) for name, own in magnitudes.items()}
        together = torch.cat(list(magnitudes.values()))
        refuse(made == {name: _above(own, together, share) for name, own in magnitudes.items()},
               "This is still one threshold for all layers. Sort the scales of each layer by "
               "themselves.")
        refuse(made == {name: _above(own, own, share) for name, own in scales.items()},
               "A scale of -0.9 is as large as one of 0.9: compare magnitudes.")
        refuse(all(set(made[name]) == set(range(len(own))) - set(wanted[name])
                   for name, own in scales.items()),
               "These are the channels that go. Give those whose scale is above the threshold.")
        refuse(all(set(wanted[name]) < set(made[name]) for name in scales),
               "One channel too many stays: the threshold itself goes, only larger ones stay.")
        demand(made == wanted, f"With a share of {share:g} other channels should stay: those "
                               "whose magnitude is above entry int(share * channels) of the "
                               "layer's sorted magnitudes.")
    return ("each layer loses the same share, so the widths follow from the share alone. "
            "Nothing is found.")


def cost_aware(answer: Any) -> str:
    """A SparsityPenalty whose strength differs from scale to scale by `weights`.

    Raises Wrong for a gradient that is replaced, a missing sign or strength, weights that are
    not used, or a plain penalty.
    """
    answered(answer)
    demand(isinstance(answer, type) and issubclass(answer, SparsityPenalty),
           f"The answer must be the class, a kind of SparsityPenalty, not {kind(answer)}.")
    strength, weights, values, before = 0.1, [2.0, 0.5], [[0.5, -0.4], [0.3, -2.0]], 0.7
    model = nn.Sequential(nn.BatchNorm2d(2), nn.ReLU(), nn.BatchNorm2d(2))
    penalty = answer(strength)
    penalty.weights = weights
    penalty.prepare(model)
    scales: list[nn.Parameter] = [model[0].weight, model[2].weight]  # type: ignore[list-item]
    for scale, own in zip(scales, values, strict=True):
        scale.data = torch.tensor(own)
        scale.grad = torch.full((2,), before)
    penalty.after_backward(None)  # type: ignore[arg-type]
    grads: list[Tensor] = [scale.grad for scale in scales]  # type: ignore[misc]
    pushes = torch.stack(grads) - before
    if not pushes.any():
        raise Unanswered(UNANSWERED)
    signs = torch.tensor(values).sign()
    each = torch.tensor(weights)[:, None]
    wanted = strength * each * signs
    refuse(_same(pushes + before, wanted), "The gradient of the loss is gone. Add to it instead "
                                           "of replacing it.")
    refuse(_same(pushes, strength * signs), "Each scale is pushed alike. Use the entry of "
                                            "self.weights that belongs to its layer.")
    refuse(_same(pushes, each * signs), "The strength is missing.")
    refuse(_same(pushes, (strength * each).expand(2, 2)),
           "The sign is missing: a negative scale must be pushed up towards zero.")
    refuse(_same(pushes, strength * each * torch.tensor(values)),
           "This is the gradient of the square: it fades as a scale gets small. The L1-norm "
           "pushes by the sign alone.")
    refuse(_same(pushes, -wanted), "The optimiser subtracts the gradient, so what is added must "
                                   "have the sign of the scale.")
    demand(_same(pushes, wanted), "What is added must be strength times the layer's weight times "
                                  "the sign of the scale.")
    return ("the push on a scale now depends on its layer. Give `weights` the MACs of a channel, "
            "and expensive layers shrink first.")


def _layers() -> dict[str, Tensor]:
    """Scales of three layers of different size, fixed, some of them negative."""
    stream = torch.Generator().manual_seed(5)
    sizes = {"first": (6, 0.2), "second": (8, 1.0), "third": (9, 0.6)}
    return {name: (torch.rand(size, generator=stream) + 0.05) * top
            * (torch.rand(size, generator=stream) < 0.6).float().mul(2).sub(1)
            for name, (size, top) in sizes.items()}


def _above(own: Tensor, among: Tensor, share: float) -> list[int]:
    threshold = among.sort().values[int(share * len(among))]
    return (own > threshold).nonzero().flatten().tolist()


def _listed(kept: Any, name: str) -> list[int]:
    """Channels as a list of whole numbers, from a list or a tensor of indices or of truth."""
    values = listed(kept) or list(kept)
    if values and all(isinstance(value, bool) for value in values):
        values = [place for place, stays in enumerate(values) if stays]
    demand(all(isinstance(value, int) for value in values),
           f"The channels of {name} must be whole numbers, the places of those that stay.")
    return sorted(values)


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a.detach(), b, atol=1e-6)
