"""Networks as people write them, in training: memory formats, several outputs, and that what cannot
train says so before anything has run."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from written_networks import MIXING, RECIPE, SHAPE, block, takes_a_step, task

import rethinklab as rl
from rethinklab.analysis.connectivity import reestimate
from rethinklab.errors import ConfigError
from rethinklab.trainers.rehearsal import check_fit


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
