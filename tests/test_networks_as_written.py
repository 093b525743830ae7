"""Networks as people write them: what cannot be cut is left alone, the rest is pruned and trains;
what cannot train says so before anything has run."""

from __future__ import annotations

import warnings
from copy import deepcopy

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

import rethinklab as rl
from rethinklab.analysis.connectivity import reestimate
from rethinklab.errors import ConfigError, PlanError
from rethinklab.models.outputs import logits
from rethinklab.pruners.cutting.probe import survey
from rethinklab.trainers.rehearsal import check_fit

RECIPE = rl.Recipe(epochs=1, lr=0.01, batch_size=8)
SHAPE = (3, 16, 16)


def task(count=24, side=16, classes=3):
    draws = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=draws)
    images = rl.Images(pixels, torch.arange(count) % classes)
    return rl.ImageData("noise", images, images, tuple(map(str, range(classes))), (0.5,) * 3,
                        (0.25,) * 3)


def block(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs),
                         nn.ReLU())


class Between(nn.Module):
    """Three blocks and a linear layer, with `middle` between the first two blocks, whose output
    has `arriving` channels. extra: modules and buffers that `middle(net, x)` may use."""

    def __init__(self, middle, arriving=16, **extra):
        super().__init__()
        self.middle = middle
        self.first, self.second = block(3, 16), block(arriving, 12)
        self.third, self.head = block(12, 8), nn.Linear(8, 3)
        for name, part in extra.items():
            if isinstance(part, nn.Module):
                self.add_module(name, part)
            else:
                self.register_buffer(name, part)

    def forward(self, x):
        x = self.middle(self, self.first(x))
        return self.head(self.third(self.second(x)).mean((2, 3)))


def attention_over_channels(net, x):
    scores = net.scan(x.mean((2, 3))[:, None])[:, 0]
    return x * torch.sigmoid(scores)[..., None, None]


def folded(net, x):
    return F.fold(x.flatten(2), (32, 32), 2, stride=2)


def maxout(net, x):
    return x.view(len(x), 8, 2, *x.shape[2:]).amax(2)


MIXING = {
    "pixel shuffle": Between(lambda net, x: F.pixel_shuffle(x, 2), 4),
    "pixel unshuffle": Between(lambda net, x: F.pixel_unshuffle(x, 2), 64),
    "channel shuffle": Between(lambda net, x: F.channel_shuffle(x, 4)),
    "fold": Between(folded, 4),
    "unfold": Between(lambda net, x: F.unfold(x, 3, padding=1).view(len(x), 144, 16, 16), 144),
    "roll": Between(lambda net, x: x.roll(1, 1)),
    "permutation": Between(lambda net, x: x[:, list(range(15, -1, -1))]),
    "sum of halves": Between(lambda net, x: sum(x.chunk(2, 1)), 8),
    "gated linear unit": Between(lambda net, x: F.glu(x, 1), 8),
    "maxout": Between(maxout, 8),
    "group normalisation": Between(lambda net, x: F.group_norm(x, 4)),
    "softmax over channels": Between(lambda net, x: x.softmax(1) * x),
    "repetition": Between(lambda net, x: x.repeat_interleave(2, 1), 32),
    "fixed shape": Between(lambda net, x: x.reshape(len(x), 16, -1).reshape(len(x), 16, 16, 16)),
    "buffer": Between(lambda net, x: x * net.scale, scale=torch.ones(1, 16, 1, 1)),
    "scan over channels": Between(attention_over_channels, scan=nn.Conv1d(1, 1, 3, padding=1)),
    "half of the channels": Between(lambda net, x: x[:, :8], 8),
}
FOLLOWED = {
    "both signs": Between(lambda net, x: torch.cat([F.relu(x), F.relu(-x)], 1), 32),
    "instance normalisation": Between(lambda net, x: net.norm(x),
                                      norm=nn.InstanceNorm2d(16, affine=True)),
    "parametric ReLU": Between(lambda net, x: net.act(x), act=nn.PReLU(16)),
    "random scale": Between(lambda net, x: 2 * x if net.training and torch.rand(1) < 0.5 else x),
}


def equal_to_zeroing(model, plan, shape):
    """In evaluation mode the network without the channels computes what it computes with them
    zero."""
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    small, silent = plan.apply(model).eval(), plan.silence(model).eval()
    with torch.no_grad():
        found, wanted = logits(small(images)), logits(silent(images))
    return torch.allclose(found, wanted, atol=1e-5 * float(wanted.abs().max()) + 1e-7)


def takes_a_step(model, shape, classes):
    """One step of gradient descent on two images leaves finite weights, and other ones."""
    model.train()
    before = [p.detach().clone() for p in model.parameters()]
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(2))
    F.cross_entropy(logits(model(images)), torch.tensor([0, classes - 1])).backward()
    torch.optim.SGD([p for p in model.parameters() if p.grad is not None], lr=0.01).step()
    return (all(torch.isfinite(p).all() for p in model.parameters())
            and any(not torch.equal(p, old) for p, old in
                    zip(model.parameters(), before, strict=True)))


@pytest.mark.parametrize("name", MIXING)
def test_one_layer_that_cannot_be_cut_does_not_refuse_the_network(name):
    model = MIXING[name]
    plan = rl.pruners.L1Norm(0.5).fit(model, task())
    assert plan.kept_widths == {"second.0": 6, "third.0": 4}
    assert len(plan.left_alone["first.0"]) > 20
    assert f"  first.0: {plan.left_alone['first.0']}" in plan.report
    assert equal_to_zeroing(model, plan, SHAPE)
    assert takes_a_step(plan.apply(model), SHAPE, 3)
    with pytest.raises(PlanError, match=r"first\.0"):
        rl.pruners.L1Norm({"first.0": 0.5}).fit(model, task())


@pytest.mark.parametrize("name", FOLLOWED)
def test_what_leaves_channels_apart_is_pruned(name):
    model = FOLLOWED[name]
    plan = rl.pruners.L1Norm(0.5).fit(model, task())
    assert plan.kept_widths == {"first.0": 8, "second.0": 6, "third.0": 4}
    assert takes_a_step(plan.apply(model), SHAPE, 3)


@pytest.mark.parametrize(("method", "options"), [
    ("thinet", {"images": 8}), ("regression", {"images": 8, "positions": 4}), ("random", {}),
    ("slimming", {}), ("uniform", {})])
def test_every_method_leaves_alone_what_cannot_be_cut(method, options):
    model = MIXING["channel shuffle"]
    plan = rl.make_pruner(method, 0.4, **options).rehearse(model, task())
    assert "first.0" not in plan.keep
    assert set(plan.keep) >= {"second.0", "third.0"}


def small_vit():
    return torchvision.models.VisionTransformer(32, 8, 2, 2, 24, 48, num_classes=10)


TORCHVISION = {
    "resnet50": 33, "mobilenet_v2": 20, "densenet121": 120, "convnext_tiny": 18,
    "efficientnet_b0": 19, "shufflenet_v2_x1_0": 18, "googlenet": 61}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TORCHVISION, "small ViT"])
def test_l1_on_networks_of_torchvision(name):
    """The number of layers that can go: every convolution whose channels meet no sum, shuffle,
    group or output; of a transformer the first layer of each perceptron."""
    with rl.seeds.global_stream(0, name), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # googlenet's, of its weights to come
        model = small_vit() if name == "small ViT" else getattr(torchvision.models, name)(
            num_classes=10)
    side = 32 if name == "small ViT" else 64
    data = task(8, side, 10)
    found = survey(model, data.input_shape)
    assert len(found.prunable) == TORCHVISION.get(name, 2)
    plan = rl.pruners.L1Norm(0.3).fit(model, data)
    convolutions = {n for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    layers = {n for n, m in model.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    assert set(plan.keep) >= convolutions - set(plan.left_alone)
    assert set(plan.keep) | set(plan.left_alone) == layers
    for layer, kept in plan.kept_widths.items():
        assert kept == int(round(plan.widths[layer] * 0.7, 9)), layer
    assert all(len(reason) > 10 for reason in plan.left_alone.values())
    assert equal_to_zeroing(model, plan, data.input_shape)
    assert takes_a_step(plan.apply(model), data.input_shape, 10)


class View(nn.Module):
    def __init__(self):
        super().__init__()
        self.features, self.head = block(3, 8), nn.Linear(8 * 64, 3)

    def forward(self, x):
        x = F.max_pool2d(self.features(x), 2)
        return self.head(x.view(x.size(0), -1))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_view_after_a_convolution_trains_in_contiguous_memory(precision):
    data, model = task(), View()
    assert check_fit(model, data, 8, precision) == torch.contiguous_format
    assert check_fit(MIXING["roll"], data, 8, precision) == torch.channels_last
    trained = rl.train(model, data, RECIPE, precision=precision, progress=False).model
    pixels = (data.test.pixels.float() / 255 - 0.5) / 0.25
    with torch.no_grad():
        right = (trained.eval()(pixels).argmax(1) == data.test.labels).float().mean()
    assert rl.evaluate(trained, data)[0] == pytest.approx(float(right))


def test_statistics_are_estimated_anew_in_contiguous_memory_too():
    """Over one batch they are that batch's own, as a step of training with momentum 1 has them."""
    images = torch.randn(8, *SHAPE).to(memory_format=torch.channels_last)
    found, wanted = View(), View()
    wanted.load_state_dict(found.state_dict())
    reestimate(found, [images])
    wanted.features[1].momentum = 1.0
    wanted.train()(images.contiguous())
    for name, value in wanted.features[1].named_buffers():
        assert torch.allclose(found.features[1].get_buffer(name), value, atol=1e-6), name


@pytest.mark.parametrize("method", ["l1", "thinet", "regression", "slimming", "weight-level"])
def test_every_pruner_looks_at_a_network_that_needs_contiguous_memory(method):
    options = {"images": 8} if method in ("thinet", "regression") else {}
    plan = rl.make_pruner(method, 0.5, **options).rehearse(View(), task())
    assert takes_a_step(plan.apply(View()), SHAPE, 3)


class Several(nn.Module):
    """The class scores beside a second head, in the form `give` says."""

    def __init__(self, give):
        super().__init__()
        self.give = give
        self.features, self.head, self.aside = block(3, 8), nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x):
        x = self.features(x).mean((2, 3))
        return self.give(self, self.head(x), x)


FORMS = {
    "tuple": lambda net, y, x: (y, net.aside(x)),
    "list of one": lambda net, y, x: [y],
    "named": lambda net, y, x: {"aux": net.aside(x), "out": y},
    "logits": lambda net, y, x: {"logits": y, "hidden": net.aside(x)},
    "only entry": lambda net, y, x: {"prediction": y},
    "auxiliary in training": lambda net, y, x: (y, net.aside(x)) if net.training else y,
    "torchvision's": lambda net, y, x: torchvision.models.GoogLeNetOutputs(
        y, net.aside(x), net.aside(x)),
}


@pytest.mark.parametrize("form", FORMS)
def test_of_several_outputs_the_class_scores_are_trained_on(form):
    data, outcomes = task(), []
    for give in (lambda net, y, x: y, FORMS[form]):
        with rl.seeds.global_stream(0, "several"):
            model = Several(give)
        outcomes.append(rl.train(model, data, RECIPE, progress=False))
        plan = rl.pruners.L1Norm(0.5).fit(model, data)
        assert plan.kept_widths == {"features.0": 4}
        assert takes_a_step(plan.apply(model), SHAPE, 3)
    plain, several = outcomes
    assert several.test_accuracy == plain.test_accuracy
    assert all(torch.equal(value, several.model.state_dict()[name])
               for name, value in plain.model.state_dict().items())


@pytest.mark.parametrize(("give", "says"), [
    (lambda net, y, x: {"scores": y, "features": x}, "dict with scores, features"),
    (lambda net, y, x: None, "NoneType"),
    (lambda net, y, x: ((y, x), x), "tuple"),
    (lambda net, y, x: (), "tuple")])
def test_outputs_whose_meaning_is_not_clear_end_in_one_sentence(give, says):
    model, data = Several(give), task()
    for call in (lambda: rl.train(model, data, RECIPE, progress=False),
                 lambda: rl.evaluate(model, data)):
        with pytest.raises(ConfigError, match=says):
            call()


class Seen(rl.Callback):
    def __init__(self):
        self.prepared = False

    def prepare(self, model):
        self.prepared = True


class Fails(Several):
    def __init__(self, how):
        super().__init__(lambda net, y, x: y)
        self.how = how

    def forward(self, x):
        return self.how(self, x, super().forward(x))


@pytest.mark.parametrize(("how", "says"), [
    (lambda net, x, y: net.missing(y) if net.training else y, "missing"),
    (lambda net, x, y: y[:, :2] if net.training and len(x) > 5 else y.detach(), "requires_grad"),
    (lambda net, x, y: y[:1] if net.training else y, "shape"),
    (lambda net, x, y: y.sum() if net.training else y, "shape"),
    (lambda net, x, y: (y.view(3, -1) if len(x) > 1 else y), r"\(3, 2\)")])
def test_what_cannot_train_is_told_before_anything_has_run(how, says):
    seen, model = Seen(), Fails(how)
    before, draws = deepcopy(model.state_dict()), torch.get_rng_state()
    with pytest.raises(ConfigError, match=says):
        rl.train(model, task(), RECIPE, callbacks=[seen], progress=False)
    assert not seen.prepared
    assert torch.equal(draws, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_check_leaves_network_and_draws_alone():
    model = nn.Sequential(block(3, 8), nn.Dropout(), nn.Flatten(), nn.Linear(8 * 256, 3))
    before, draws = deepcopy(model.state_dict()), torch.get_rng_state()
    check_fit(model, task(), 8, "bf16")
    assert torch.equal(draws, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_normalisation_over_a_batch_of_one():
    model = rl.build_model("vgg11", num_classes=3, width=0.125)  # normalises single values
    with pytest.raises(ConfigError, match="batch of one image"):
        rl.train(model, task(8, 32), rl.Recipe(epochs=1, batch_size=1), progress=False)
    with pytest.raises(ConfigError, match="batch of one image"):
        rl.train(model, task(1, 32), RECIPE, progress=False)
    rl.train(model, task(9, 32), RECIPE, progress=False)  # the ninth joins the batch before it
    alone = nn.Sequential(block(3, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    rl.train(alone, task(4), rl.Recipe(epochs=1, batch_size=1), progress=False)  # 256 values each


class Ways(nn.Module):
    """A block more on the way that `way(net, x)` chooses."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.first, self.detour, self.head = block(3, 16), block(16, 16), nn.Linear(16, 3)

    def forward(self, x):
        x = self.first(x)
        if self.way(self, x):
            x = self.detour(x)
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize(("way", "says"), [
    (lambda net, x: net.training, "training mode only"),
    (lambda net, x: not net.training, "first.0"),
    (lambda net, x: bool(x.mean() > 0.2), "first.0")])
def test_a_network_that_takes_different_ways_says_so_when_it_is_pruned(way, says):
    with rl.seeds.global_stream(0, "ways"):
        model = Ways(way)
    with pytest.raises(PlanError, match=says):
        rl.pruners.L1Norm(0.5).fit(model, task())


def test_auxiliary_heads_are_cut_with_what_they_read():
    class Aux(Between):
        def __init__(self):
            super().__init__(lambda net, x: x)
            self.aside = nn.Conv2d(16, 3, 1)

        def forward(self, x):
            x = self.first(x)
            y = self.head(self.third(self.second(x)).mean((2, 3)))
            return (y, self.aside(x).mean((2, 3))) if self.training else y

    plan = rl.pruners.L1Norm(0.5).fit(Aux(), task())
    assert plan.kept_widths == {"first.0": 8, "second.0": 6, "third.0": 4}
    pruned = plan.apply(Aux())
    assert pruned.aside.weight.shape == (3, 8, 1, 1)
    assert takes_a_step(pruned, SHAPE, 3)


@pytest.mark.parametrize("target", [0.5, 0.25, "macs:0.7", {"first.0": 0.5}])
def test_a_layer_of_one_channel_keeps_it(target):
    model = nn.Sequential()
    for name, part in (("first", block(3, 16)), ("one", block(16, 1)), ("last", block(1, 16))):
        model.add_module(name, part)
    model.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3)])
    for method in ("l1", "thinet", "random"):
        options = {"images": 8} if method == "thinet" else {}
        plan = rl.make_pruner(method, target, **options).fit(model, task())
        assert plan.kept_widths["first.0"] < 16
        assert "single channel" in plan.left_alone["one.0"] or plan.kept_widths["one.0"] == 1
        assert plan.apply(model).one[0].out_channels == 1
    with pytest.raises(PlanError, match="would empty"):
        rl.pruners.L1Norm({"one.0": 0.5}).fit(model, task())


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
