"""Network slimming: one threshold for all scales, streams that keep their width, both forms."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import scramble_statistics, slim
from torch import nn

import rethinklab as rl
from rethinklab.errors import PlanError
from rethinklab.models.preresnet import PreActBottleneck
from rethinklab.models.selection import SelectConv2d, SelectLinear
from rethinklab.pruners import Slimming
from rethinklab.pruners.slimming import SparsityPenalty


def norms(model):
    return {name: m for name, m in model.named_modules()
            if isinstance(m, (nn.BatchNorm2d, nn.BatchNorm1d))}


def scatter_scales(model, seed=0):
    """Distinct scales in random order, of either sign, over all normalisations."""
    draws = torch.Generator().manual_seed(seed)
    scramble_statistics(model, seed)
    total = sum(m.num_features for m in norms(model).values())
    values = (torch.randperm(total, generator=draws) + 1) / total
    values *= torch.randint(0, 2, (total,), generator=draws) * 2 - 1
    with torch.no_grad():
        for norm in norms(model).values():
            norm.weight.copy_(values[: norm.num_features])
            values = values[norm.num_features :]
    return model.eval()


def kept_by_the_released_rule(model, share):
    """Of each normalisation the channels above the value at place int(total * share)."""
    scales = {name: norm.weight.detach().abs().tolist() for name, norm in norms(model).items()}
    together = sorted(value for part in scales.values() for value in part)
    threshold = together[int(len(together) * share)]
    return {name: tuple(i for i, value in enumerate(part) if value > threshold)
            for name, part in scales.items()}


def silenced_by_hand(model, kept):
    model = deepcopy(model)
    with torch.no_grad():
        for name, norm in norms(model).items():
            gone = [i for i in range(norm.num_features) if i not in kept[name]]
            norm.weight[gone] = 0
            norm.bias[gone] = 0
    return model


def outputs(*models):
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        found = [model.eval()(images) for model in models]
    scale = float(found[0].abs().max())
    return [each / scale for each in found]


@pytest.fixture(scope="module")
def vgg():
    return scatter_scales(rl.build_model("vgg11", width=0.125))


@settings(max_examples=12)
@given(st.floats(0.02, 0.98), st.integers(0, 10**6))
def test_one_more_than_the_share_goes_where_scales_are_distinct(digits, share, seed):
    model = scatter_scales(rl.build_model("vgg11", width=0.0625), seed)
    total = sum(m.num_features for m in norms(model).values())
    plan = Slimming(share, masked=True).fit(model, digits)
    living = {name: tuple(plan.masks[f"{name}.weight"].nonzero().flatten().tolist())
              for name in norms(model)}
    assert living == kept_by_the_released_rule(model, share)
    assert total - sum(map(len, living.values())) == int(total * share) + 1


def test_the_penalty_acts_on_normalisation_scales_and_nothing_else():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
                          nn.LazyLinear(5), nn.BatchNorm1d(5), nn.LayerNorm(5))
    model(torch.randn(2, 3, 6, 6))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([0.5, -2.0, 0.0, 1e-9]))
    model(torch.randn(4, 3, 6, 6)).square().sum().backward()
    before = {name: p.grad.clone() for name, p in model.named_parameters()}
    penalty = SparsityPenalty(0.25)
    penalty.prepare(model)
    penalty.after_backward(None)
    for name, parameter in model.named_parameters():
        added = torch.zeros_like(before[name])
        if name in ("1.weight", "5.weight"):
            added = 0.25 * parameter.detach().sign()
        assert torch.equal(parameter.grad, before[name] + added), name
    assert model[1].weight.sign().tolist() == [1, -1, 0, 1]


def test_the_penalty_drives_many_scales_to_nearly_nothing(digits):
    data = digits.subset(2500, 300)
    with rl.seeds.global_stream(0, "chain"):
        model = slim()
    recipe = rl.Recipe(epochs=5, lr=0.05, batch_size=25)
    shares = []
    for acting in (Slimming(0.5, strength=0.01).during(data), []):
        result = rl.train(model, data, recipe, device="cpu", progress=False, callbacks=acting)
        scales = torch.cat([m.weight.detach().abs() for m in norms(result.model).values()])
        shares.append(float((scales < 0.05 * scales.max()).float().mean()))
        assert result.test_accuracy > 0.3, "hardly better than chance"
    assert shares[0] > 0.1
    assert shares[0] > 5 * shares[1]


@pytest.fixture(scope="module", params=[("preresnet164", 0.4), ("preresnet164", 0.6),
                                        ("densenet40", 0.4), ("densenet40", 0.6)],
                ids=lambda p: f"{p[0]}-{p[1]}")
def stream(request, digits):
    name, share = request.param
    model = scatter_scales(rl.build_model(name))
    plan = Slimming(share).fit(model, digits)
    return model, plan, plan.apply(model), kept_by_the_released_rule(model, share)


def follows(name):
    """In PreResNet and DenseNet: the layer that reads a normalisation of the stream."""
    parts = name.split(".")
    leaf = {"bn1": "conv1", "bn": "conv"}[parts[-1]] if len(parts) > 1 else "fc"
    return ".".join([*parts[:-1], leaf])


def of_stream(name):
    return not name.endswith((".bn2", ".bn3"))


def test_streams_keep_their_width(stream):
    model, plan, pruned, kept = stream
    for name, module in pruned.named_modules():
        if isinstance(module, nn.Conv2d):
            full = model.get_submodule(name).out_channels
            inner = "stages" in name and name.endswith((".conv1", ".conv2"))
            after = name[:-5] + f"bn{int(name[-1]) + 1}" if inner else ""
            assert module.out_channels == (len(kept[after]) if inner else full), name
        if isinstance(module, nn.BatchNorm2d) and of_stream(name):
            assert module.num_features == model.get_submodule(name).num_features
    assert plan.after.macs < plan.before.macs


def test_layers_read_a_selection_of_the_stream(stream):
    model, plan, pruned, kept = stream
    streams = {follows(name): kept[name] for name in norms(model) if of_stream(name)}
    assert plan.read == streams
    for name, channels in streams.items():
        layer = pruned.get_submodule(name)
        assert isinstance(layer, (SelectConv2d, SelectLinear))
        assert tuple(layer.index.tolist()) == channels
        full = model.get_submodule(name)
        assert layer.weight.shape[1] == len(channels) < full.weight.shape[1]
        outs = plan.keep.get(name, range(full.weight.shape[0]))
        assert torch.equal(layer.weight, full.weight[list(outs)][:, list(channels)])


def test_scratch_reads_the_same_channels_with_other_weights(stream):
    model, plan, pruned, _ = stream
    fresh = plan.scratch(model, seed=3)
    indices = [{n: b for n, b in net.named_buffers() if n.endswith(".index")}
               for net in (pruned, fresh)]
    assert indices[0].keys() == indices[1].keys()
    assert all(torch.equal(indices[0][name], indices[1][name]) for name in indices[0])
    for name, value in fresh.named_parameters():
        assert value.shape == pruned.get_parameter(name).shape
        if value.ndim > 1:
            assert not (value == pruned.get_parameter(name)).any()
    assert all((m.weight == 0.5).all() for m in norms(fresh).values())


def test_the_narrow_network_is_the_full_one_with_scales_and_shifts_zero(stream):
    model, _, pruned, kept = stream
    full, narrow, unpruned = outputs(silenced_by_hand(model, kept), pruned, model)
    assert torch.allclose(full, narrow, atol=1e-5)
    assert not torch.allclose(full, unpruned, atol=1e-2)


def test_vgg_loses_whole_channels(vgg, digits):
    plan = Slimming(0.4).fit(vgg, digits)
    kept = kept_by_the_released_rule(vgg, 0.4)
    assert not plan.read
    for name, channels in plan.keep.items():
        head, _, number = name.rpartition(".")
        assert channels == kept[f"{head}.{int(number) + 1}"]
    assert len(plan.keep) == len(kept), "a hidden linear layer with normalisation counts too"
    narrow, full = outputs(plan.apply(vgg), silenced_by_hand(vgg, kept))
    assert torch.allclose(narrow, full, atol=1e-5)


@pytest.mark.parametrize("name", ["vgg11", "preresnet20"])
def test_the_masked_form_computes_and_costs_the_same(name, digits):
    model = scatter_scales(rl.build_model(name, width=0.25), 5)
    narrow = Slimming(0.5).fit(model, digits)
    masked = Slimming(0.5, masked=True).fit(model, digits)
    assert not masked.keep
    assert not masked.read
    assert masked.after.macs == narrow.after.macs
    assert masked.after.params == narrow.before.params
    one, two = outputs(narrow.apply(model), masked.apply(model))
    assert torch.allclose(one, two, atol=1e-5)


@pytest.fixture
def dying(vgg):
    """VGG with a layer whose scales are all next to nothing."""
    model = deepcopy(vgg)
    with torch.no_grad():
        model.features[12].weight.mul_(1e-6)
    return model


def test_a_layer_without_channels_is_named(dying, digits):
    with pytest.raises(PlanError, match=r"no channel of features\.12,.*minimum=1.*masked=True"):
        Slimming(0.3).fit(dying, digits)


def test_the_masked_form_may_empty_a_layer(dying, digits, small):
    plan = Slimming(0.3, masked=True).fit(dying, digits)
    assert not plan.masks["features.12.weight"].any()
    assert not plan.masks["features.11.weight"].any()
    pruned, = outputs(plan.apply(dying))
    assert torch.isfinite(pruned).all()
    trained = rl.train(plan.apply(dying), small, rl.Recipe(epochs=1, lr=0.05), device="cpu",
                       progress=False, callbacks=plan.callbacks()).model
    assert not trained.features[12].weight.any()
    assert not trained.features[12].bias.any()


def test_a_minimum_keeps_the_largest_of_every_layer(dying, digits):
    plan = Slimming(0.3, minimum=1).fit(dying, digits)
    largest = int(dying.features[12].weight.detach().abs().argmax())
    assert plan.keep["features.11"] == (largest,)
    assert min(map(len, Slimming(0.9, minimum=3).fit(dying, digits).keep.values())) == 3


def test_a_network_without_normalisation_fails_before_training(small):
    plain = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.Linear(8, 10))
    with pytest.raises(PlanError, match="no batch normalisation"):
        Slimming(0.5).rehearse(plain, small)
    study = rl.Study("digits", "imagenet_vgg11", "slimming", 0.5, width=0.0625)
    with pytest.raises(PlanError, match="no batch normalisation"):
        study.rehearse(small)


def test_scales_that_are_not_numbers_are_refused(vgg, digits):
    model = deepcopy(vgg)
    with torch.no_grad():
        model.features[1].weight[0] = float("nan")
    with pytest.raises(PlanError, match="diverged"):
        Slimming(0.5).fit(model, digits)


def test_the_last_normalisation_before_the_readers_decides(digits):
    """Behind a depthwise convolution a channel is what the second normalisation makes of it."""
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 6, 3, groups=6, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    scatter_scales(model)
    with torch.no_grad():
        model[4].weight.copy_(torch.tensor([0.1, 0.9, 0.2, 0.8, 0.3, 0.7]))
    plan = Slimming(0.4).fit(model, digits)
    assert plan.keep == {"0": (1, 3, 5)}
    assert "1" in plan.left_alone
    gone = deepcopy(model)
    with torch.no_grad():
        for part in (gone[4].weight, gone[4].bias):
            part[[0, 2, 4]] = 0
    assert torch.allclose(*outputs(gone, plan.apply(model)), atol=1e-5)


def conv_flops(inputs, outputs, kernel, side):
    return 2 * inputs * outputs * kernel**2 * side**2


def last_flops(channels, read, side):
    """Normalisation of all channels; then of those read ReLU, one pooling of the whole map, and
    the linear layer for ten classes."""
    return 2 * channels * side**2 + read * side**2 + read * side**2 + 2 * read * 10 + 10


def preresnet_flops(depth, keep, read):
    """By the order of the released code: normalise all channels, select, ReLU, convolve."""
    total, channels, before = conv_flops(3, 16, 3, 32), 16, 32
    for stage, (inner, side) in enumerate(((16, 32), (32, 16), (64, 8))):
        for block in range((depth - 2) // 9):
            name = f"stages.{stage}.{block}"
            selected = len(read.get(f"{name}.conv1", range(channels)))
            first = len(keep.get(f"{name}.conv1", range(inner)))
            second = len(keep.get(f"{name}.conv2", range(inner)))
            total += 2 * channels * before**2 + selected * before**2
            total += conv_flops(selected, first, 1, before) + 3 * first * before**2
            total += conv_flops(first, second, 3, side) + 3 * second * side**2
            total += conv_flops(second, 4 * inner, 1, side)
            if block == 0:
                total += conv_flops(channels, 4 * inner, 1, side)
            channels, before = 4 * inner, side
    return total + last_flops(channels, len(read.get("fc", range(channels))), 8)


def densenet_flops(keep, read):
    """As `preresnet_flops`; the poolings between the blocks are functions and count nothing."""
    total, channels = conv_flops(3, 24, 3, 32), 24
    for block, side in enumerate((32, 16, 8)):
        if block > 0:
            selected = len(read.get(f"blocks.{2 * block - 1}.conv", range(channels)))
            total += (2 * channels + selected) * (2 * side)**2
            total += conv_flops(selected, channels, 1, 2 * side)
        for layer in range(12):
            selected = len(read.get(f"blocks.{2 * block}.{layer}.conv1", range(channels)))
            total += (2 * channels + selected) * side**2 + conv_flops(selected, 12, 3, side)
            channels += 12
    assert not keep, "convolutions of this network keep all their outputs"
    return total + last_flops(channels, len(read.get("fc", range(channels))), 8)


FLOPS = {"preresnet20": lambda *cut: preresnet_flops(20, *cut),
         "preresnet110": lambda *cut: preresnet_flops(110, *cut),
         "preresnet164": lambda *cut: preresnet_flops(164, *cut), "densenet40": densenet_flops}
DENSE = {"preresnet164": 504_759_306, "densenet40": 573_052_330}  # by the released counter


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6])
@pytest.mark.parametrize("name", FLOPS)
def test_flops_are_in_the_order_normalise_select_relu(name, share, digits):
    model = scatter_scales(rl.build_model(name))
    plan = Slimming(share, minimum=1).fit(model, digits)
    assert plan.before.flops == FLOPS[name]({}, {}) == DENSE.get(name, plan.before.flops)
    assert plan.after.flops == FLOPS[name](plan.keep, plan.read) < plan.before.flops


class Reader(nn.Module):
    """A normalised stream that two selections read, or a selection and, besides, all of it."""

    def __init__(self, besides=False):
        super().__init__()
        self.bn, self.relu, self.pool = nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(2)
        self.one = SelectConv2d.from_conv(nn.Conv2d(6, 2, 1, bias=False), [0, 3])
        self.two = SelectConv2d.from_conv(nn.Conv2d(6, 2, 1, bias=False), [3, 4, 5])
        self.besides = besides

    def forward(self, x):
        active = self.pool(self.relu(self.bn(x.expand(1, 6, 4, 4))))
        read = self.one(active) + self.two(active)
        return torch.cat([read, active], 1) if self.besides else read


@pytest.mark.parametrize("besides", [False, True])
def test_a_channel_counts_when_anything_reads_it(besides):
    read = 6 if besides else 4
    flops = 2 * 6 * 16 + read * 16 + 4 * read * 4 + 2 * (2 + 3) * 2 * 4
    assert rl.profile(Reader(besides), (1, 4, 4), latency=False).flops == flops


@pytest.mark.parametrize(("activated", "read"), [(False, 3), (True, 8)])
def test_a_projection_of_the_activated_stream_reads_all_of_it(activated, read):
    block = PreActBottleneck(8, 2, stride=1, project=True, project_activated=activated)
    block.conv1 = SelectConv2d.from_conv(block.conv1, [1, 2, 7])
    flops = (2 * 8 + read + 2 * 3 * 2 + 3 * 2 + 2 * 2 * 2 * 9 + 3 * 2 + 2 * 2 * 8 + 2 * 8 * 8) * 16
    assert rl.profile(block, (8, 4, 4), latency=False).flops == flops
