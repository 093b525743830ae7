"""Devices by name, and training where there is no float64, as on Apple's GPUs."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import rethinklab as rl
from rethinklab import devices
from rethinklab.errors import ConfigError
from rethinklab.pruners.slimming import SparsityPenalty
from rethinklab.trainers.evaluate import correctness, evaluate

RECIPE = rl.Recipe(epochs=2, lr=0.02, batch_size=32)


class NoFloat64(TorchDispatchMode):
    """Fails where an operation gives a tensor of float64, as it would on such a device."""

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        outcome = function(*arguments, **(options or {}))
        for leaf in tree_leaves(outcome):
            assert not (isinstance(leaf, torch.Tensor) and leaf.dtype == torch.float64), function
        return outcome


@pytest.fixture
def without_float64(monkeypatch):
    """The processor stands for a device without float64, where only sums that were fetched are."""
    monkeypatch.setattr(devices, "WITH_FLOAT64", ())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_and_testing_need_no_float64(small, without_float64, monkeypatch, precision):
    monkeypatch.setattr("rethinklab.trainers.distributed.exact", lambda values: values.float())
    model = rl.build_model("vgg11", width=0.0625, seed=0)
    with NoFloat64():
        found = rl.train(model, small, RECIPE, device="cpu", precision=precision, progress=False,
                         callbacks=[SparsityPenalty(1e-4)])
        accuracy, _ = evaluate(found.model, small)
        right = correctness(found.model, small)
    assert accuracy == pytest.approx(right.float().mean().item()) == found.test_accuracy


def test_the_mode_sees_float64(small):
    with pytest.raises(AssertionError), NoFloat64():
        rl.train(rl.build_model("vgg11", width=0.0625, seed=0), small, RECIPE, device="cpu",
                 progress=False)


def test_sums_in_float32_are_those_of_float64_but_for_rounding(small, monkeypatch):
    model = rl.build_model("vgg11", width=0.0625, seed=0)
    usual = rl.train(model, small, RECIPE, device="cpu", progress=False)
    monkeypatch.setattr(devices, "WITH_FLOAT64", ())
    found = rl.train(model, small, RECIPE, device="cpu", progress=False)
    for name, value in usual.model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], value), "only what is told differs"
    for column in ("train_loss", "test_loss"):
        assert found.history[column].tolist() == pytest.approx(usual.history[column].tolist(),
                                                               rel=1e-5)


@pytest.mark.parametrize(("here", "chosen"), [
    ((), "cpu"), (("mps",), "mps"), (("xpu",), "xpu"), (("mps", "cuda"), "cuda"),
    (("xpu", "mps"), "mps")])
def test_auto_takes_cuda_and_then_the_others(monkeypatch, here, chosen):
    for kind, module in (("cuda", torch.cuda), ("mps", torch.backends.mps), ("xpu", torch.xpu)):
        monkeypatch.setattr(module, "is_available", lambda kind=kind: kind in here)
    assert devices.pick_device().type == chosen


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta:x"])
def test_a_device_that_is_not_here_is_named(name):
    with pytest.raises(ConfigError, match=rf"device '{name}' cannot be used here .*auto, cpu"):
        devices.pick_device(name)


def test_exact_values_come_to_the_processor_where_the_device_has_no_float64(monkeypatch):
    values = torch.tensor([1.0, 0.1])
    monkeypatch.setattr(devices, "WITH_FLOAT64", ())
    fetched = []
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: fetched.append(1) or self)
    assert devices.exact(values).dtype == torch.float64
    assert fetched
