"""Weights that are computed anew at every pass, that layers share, or that attention holds."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from written_networks import RECIPE, SHAPE, block, takes_a_step, task

import rethinklab as rl
from rethinklab.errors import PlanError


def chain():
    with rl.seeds.global_stream(0, "chain"):
        return nn.Sequential(block(3, 16), block(16, 16), block(16, 16), nn.AdaptiveAvgPool2d(1),
                             nn.Flatten(), nn.Linear(16, 3))


def held_by_prune():
    model = chain()
    prune.l1_unstructured(model[1][0], "weight", 0.5)
    model(torch.randn(2, *SHAPE)).sum().backward()  # leaves a tensor with a history behind
    return model


def weight_normed():
    model = chain()
    parametrizations.weight_norm(model[1][0])
    return model


def spectrally_normed():
    model = chain()
    torch.nn.utils.spectral_norm(model[1][0])
    return model


@pytest.mark.parametrize(("build", "call"), [
    (held_by_prune, r"prune\.remove"), (weight_normed, "remove_parametrizations"),
    (spectrally_normed, "remove_spectral_norm")])
def test_computed_weights_are_trained_and_name_the_call_that_ends_them(build, call):
    model, data = build(), task()
    rl.train(model, data, RECIPE, progress=False)
    plan = rl.pruners.L1Norm(0.5).fit(model, data)
    assert list(plan.keep) == ["2.0"]  # reaches no computed weight
    assert all(len(left) > 10 for left in plan.left_alone.values())
    assert takes_a_step(plan.apply(model), SHAPE, 3)
    for pruner in (rl.pruners.WeightLevel(0.5), rl.pruners.SoftFilter(0.3),
                   rl.pruners.L1Norm({"1.0": 0.5})):
        with pytest.raises(PlanError, match=call):
            pruner.fit(model, data)
    with pytest.raises(PlanError, match=call):
        plan.scratch(model)


def test_what_the_named_call_leaves_can_be_pruned():
    model = held_by_prune()
    zeros = int((model[1][0].weight == 0).sum())
    prune.remove(model[1][0], "weight")
    plan = rl.pruners.L1Norm(0.5).fit(model, task())
    assert list(plan.keep) == ["0.0", "1.0", "2.0"]
    assert int((plan.silence(model)[1][0].weight == 0).sum()) > zeros


def test_a_weight_that_layers_share_is_pruned_once_and_stays_shared():
    model = chain()
    model[2][0].weight = model[1][0].weight
    plan = rl.pruners.WeightLevel(0.5).fit(model, task())
    assert set(plan.masks) == {"0.0.weight", "1.0.weight"}
    trained = rl.train(plan.apply(model), task(), RECIPE, callbacks=plan.callbacks(),
                       progress=False).model
    assert trained[2][0].weight is trained[1][0].weight
    assert not trained[2][0].weight[~plan.masks["1.0.weight"]].any()
    kept = {name: float(mask.float().mean()) for name, mask in plan.masks.items()}
    magnitudes = torch.cat([model[0][0].weight.flatten(), model[1][0].weight.flatten()]).abs()
    assert sum(int(mask.sum()) for mask in plan.masks.values()) == len(magnitudes) - (
        int(len(magnitudes) * 0.5) + 1)
    assert kept["1.0.weight"] < kept["0.0.weight"]
    with pytest.raises(PlanError, match="several layers share"):
        rl.pruners.L1Norm(0.5).fit(model, task())


def test_attention_is_drawn_anew_with_the_rest():
    model = nn.TransformerEncoderLayer(16, 4, 32)
    fresh = rl.models.initialise.reinitialise(model, 0)
    assert not torch.equal(fresh.self_attn.in_proj_weight, model.self_attn.in_proj_weight)
