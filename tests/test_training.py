"""The loop against one written out, and its promises: determinism, exact resume, clear failure."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import nn

import rethinklab as rl
from rethinklab.data.batches import TrainingBatches
from rethinklab.errors import ConfigError, DivergenceError
from rethinklab.trainers import checkpoint as checkpoint_module

RECIPE = rl.Recipe(epochs=4, lr=0.05)


def weights(model):
    return torch.cat([value.double().flatten() for value in model.state_dict().values()])


def fit(model, data, **options):
    options.setdefault("device", "cpu")  # where the same seed gives the same bits
    return rl.train(model, data, options.pop("recipe", RECIPE), progress=False, **options)


def test_equals_a_loop_written_out(small, tiny_vgg):
    from copy import deepcopy

    result = fit(tiny_vgg, small, seed=7)
    model = deepcopy(tiny_vgg).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 3])
    batches = TrainingBatches(small, 64, seed=7)
    for epoch in range(4):
        for images, labels in batches.epoch(epoch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        scheduler.step()
    assert torch.allclose(weights(result.model), weights(model), rtol=1e-4, atol=1e-6)
    assert result.history["lr"].tolist() == pytest.approx([0.05, 0.05, 0.005, 0.0005])


def test_same_seed_same_bits_and_two_seeds_differ(small, tiny_vgg):
    first, again, other = (fit(tiny_vgg, small, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(weights(first.model), weights(again.model))
    timeless = [r.history.drop(columns="seconds") for r in (first, again)]
    assert timeless[0].equals(timeless[1])
    assert not torch.equal(weights(first.model), weights(other.model))


def test_the_model_given_stays_as_it_was(small, tiny_vgg):
    before = weights(tiny_vgg)
    fit(tiny_vgg, small)
    assert torch.equal(before, weights(tiny_vgg))


class Interrupt(rl.Callback):
    """Stops a run after some epochs, as Ctrl-C would."""

    def __init__(self, epochs):
        self.epochs = epochs

    def after_epoch(self, state):
        if state.epoch + 1 == self.epochs:
            raise KeyboardInterrupt


@pytest.fixture
def eager_checkpoints(monkeypatch):
    monkeypatch.setattr(checkpoint_module.Checkpoint.__init__, "__defaults__", (0.0,))


class WithDropout(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = rl.build_model("vgg11", width=0.0625, seed=1)
        self.drop = nn.Dropout(0.5)

    def forward(self, images):
        return self.drop(self.body(images))


@pytest.mark.parametrize("after", [1, 3])
def test_a_resumed_run_equals_an_uninterrupted_one(small, tmp_path, eager_checkpoints, after):
    model, file = WithDropout(), tmp_path / "run.pt"
    whole = fit(model, small)

    with pytest.raises(KeyboardInterrupt):
        # The checkpoint watches after the callbacks, so stop one epoch later.
        fit(model, small, checkpoint=file, callbacks=[Interrupt(after + 1)])
    assert torch.load(file, weights_only=True)["epoch"] == after
    resumed = fit(model, small, checkpoint=file)
    assert torch.equal(weights(whole.model), weights(resumed.model))
    assert whole.history.drop(columns="seconds").equals(resumed.history.drop(columns="seconds"))
    assert not file.exists()


def test_another_runs_checkpoint_is_not_resumed_from(small, tiny_vgg, tmp_path, eager_checkpoints):
    file = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        fit(tiny_vgg, small, seed=1, checkpoint=file, callbacks=[Interrupt(3)])
    other = fit(tiny_vgg, small, seed=2, checkpoint=file)
    assert torch.equal(weights(other.model), weights(fit(tiny_vgg, small, seed=2).model))


def test_a_checkpoint_cut_short_costs_time_and_nothing_else(small, tiny_vgg, tmp_path,
                                                            eager_checkpoints):
    file = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        fit(tiny_vgg, small, checkpoint=file, callbacks=[Interrupt(3)])
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="not a readable checkpoint"):
        again = fit(tiny_vgg, small, checkpoint=file)
    assert torch.equal(weights(again.model), weights(fit(tiny_vgg, small).model))


def test_divergence_names_epoch_rate_and_remedy(small, tiny_vgg):
    with pytest.raises(DivergenceError, match=r"epoch 1 of 4.*learning rate 1e\+06.*lower lr"):
        fit(tiny_vgg, small, recipe=rl.Recipe(epochs=4, lr=1e6))


def test_divergence_in_the_very_last_step_is_divergence(small, tiny_vgg):
    class Spoil(rl.Callback):
        def after_step(self, state):
            for parameter in state.model.parameters():
                parameter.data.fill_(float("nan"))

    last = rl.Recipe(epochs=1, lr=0.01, batch_size=200)  # a single step
    with pytest.raises(DivergenceError, match="nan on the test images"):
        fit(tiny_vgg, small, recipe=last, callbacks=[Spoil()])


def test_a_checkpoint_of_another_kind_leaves_the_weights_alone(small, tiny_vgg, tmp_path):
    file = tmp_path / "run.pt"
    torch.save(torch.zeros(3), file)
    with pytest.warns(UserWarning, match="starts over"):
        again = fit(tiny_vgg, small, checkpoint=file)
    assert torch.equal(weights(again.model), weights(fit(tiny_vgg, small).model))


def test_a_broken_optimizer_state_starts_the_run_over(small, tiny_vgg, tmp_path,
                                                      eager_checkpoints):
    file = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        fit(tiny_vgg, small, checkpoint=file, callbacks=[Interrupt(3)])
    saved = torch.load(file, weights_only=True)
    saved["optimizer"] = {"state": {}, "param_groups": []}
    torch.save(saved, file)
    with pytest.warns(UserWarning, match="starts over"):
        again = fit(tiny_vgg, small, checkpoint=file)
    assert torch.equal(weights(again.model), weights(fit(tiny_vgg, small).model))


def test_a_checkpoint_that_cannot_be_written_costs_no_run(small, tiny_vgg, tmp_path,
                                                         eager_checkpoints, monkeypatch):
    def full(*args, **kwargs):
        raise RuntimeError("[enforce fail at inline_container.cc] . file write failed")

    monkeypatch.setattr(checkpoint_module.torch, "save", full)
    with pytest.warns(UserWarning, match="goes on without"):
        result = fit(tiny_vgg, small, checkpoint=tmp_path / "run.pt")
    assert len(result.history) == 4


def test_callbacks_see_every_step_in_order(small, tiny_vgg):
    seen = []

    class Watch(rl.Callback):
        def prepare(self, model):
            model.extra = nn.Parameter(torch.ones(3))
            seen.append("prepare")

        def on_start(self, state):
            assert any(p is state.model.extra for p in state.optimizer.param_groups[0]["params"])
            seen.append("start")

        def after_backward(self, state):
            assert all(p.grad is not None for name, p in state.model.named_parameters()
                       if name != "extra")
            seen.append("backward")

        def after_update(self, state):
            seen.append("update")

        def after_step(self, state):
            seen.append("step")

        def before_test(self, state):
            assert len(state.history) == state.epoch
            seen.append("before test")

        def after_epoch(self, state):
            seen.append(f"epoch {state.history[-1]['epoch']}")

        def on_end(self, state):
            seen.append("end")

        def finish(self, model):
            del model.extra
            seen.append("finish")

    result = fit(tiny_vgg, small, recipe=rl.Recipe(epochs=2, lr=0.01), callbacks=[Watch()])
    epoch = ["backward", "update", "step"] * 4  # 198 images in batches of 64: three and a rest
    epoch.append("before test")
    assert seen == ["prepare", "start", *epoch, "epoch 1", *epoch, "epoch 2", "end", "finish"]
    assert set(result.model.state_dict()) == set(tiny_vgg.state_dict())


def test_what_is_done_before_the_test_is_tested(small, tiny_vgg):
    class Blank(rl.Callback):
        def before_test(self, state):
            with torch.no_grad():
                for parameter in state.model.parameters():
                    parameter.zero_()

    result = fit(tiny_vgg, small, recipe=rl.Recipe(epochs=1, lr=0.01), callbacks=[Blank()])
    assert result.history["test_loss"][0] == pytest.approx(math.log(10), rel=1e-6)


def test_a_window_has_the_rates_and_the_images_of_the_whole_schedule(small, tiny_vgg):
    class Images(rl.Callback):
        def __init__(self):
            self.losses = []

        def after_epoch(self, state):
            self.losses.append(state.epoch)

    seen = Images()
    late = fit(tiny_vgg, small, first_epoch=1, last_epoch=3, callbacks=[seen])
    assert late.history["epoch"].tolist() == [2, 3]
    assert late.history["lr"].tolist() == pytest.approx([0.05, 0.005])
    assert seen.losses == [1, 2]
    whole = fit(tiny_vgg, small, first_epoch=0, last_epoch=4)
    assert torch.equal(weights(whole.model), weights(fit(tiny_vgg, small).model))


def test_two_windows_without_momentum_are_the_whole_run(small, tiny_vgg):
    recipe = rl.Recipe(epochs=4, lr=0.05, momentum=0.0)
    first = fit(tiny_vgg, small, recipe=recipe, last_epoch=2)
    second = fit(first.model, small, recipe=recipe, first_epoch=2)
    assert torch.equal(weights(second.model), weights(fit(tiny_vgg, small, recipe=recipe).model))


@pytest.mark.parametrize("window", [(2, 2), (3, 1), (-1, 2), (0, 5), (4, None), (0.5, 2)])
def test_a_window_without_an_epoch_is_an_error(small, tiny_vgg, window):
    first, last = window
    with pytest.raises(ConfigError, match="first_epoch"):
        fit(tiny_vgg, small, first_epoch=first, last_epoch=last)


def test_a_window_resumes_its_own_checkpoint_only(small, tiny_vgg, tmp_path, eager_checkpoints):
    file = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        fit(tiny_vgg, small, checkpoint=file, first_epoch=1, callbacks=[Interrupt(4)])
    kept = file.read_bytes()
    resumed = fit(tiny_vgg, small, checkpoint=file, first_epoch=1)
    assert torch.equal(weights(resumed.model), weights(fit(tiny_vgg, small, first_epoch=1).model))
    assert resumed.history["epoch"].tolist() == [2, 3, 4]
    file.write_bytes(kept)
    other = fit(tiny_vgg, small, checkpoint=file)
    assert torch.equal(weights(other.model), weights(fit(tiny_vgg, small).model))


def test_a_bar_counts_the_steps_of_the_window(small, tiny_vgg):
    from rethinklab.trainers.callbacks import TrainState

    state = TrainState(tiny_vgg, None, RECIPE, 5, range(1, 4), 2)
    assert (state.steps, state.steps_done) == (15, 5)


def test_history_ends_with_the_reported_accuracy_of_the_final_model(small, tiny_vgg):
    result = fit(tiny_vgg, small)
    assert result.history["epoch"].tolist() == [1, 2, 3, 4]
    accuracy, loss = rl.evaluate(result.model, small)
    assert result.test_accuracy == accuracy == result.history["test_accuracy"].iloc[-1]
    assert loss == pytest.approx(result.history["test_loss"].iloc[-1], rel=1e-6)


def test_it_learns(digits):
    data = digits.subset(1500, 300)
    result = fit(rl.build_model("vgg11", width=0.125), data, recipe=rl.Recipe(epochs=8, lr=0.05))
    assert result.test_accuracy > 0.5


def test_bfloat16_trains_float32_weights(small, tiny_vgg):
    result = fit(tiny_vgg, small, precision="bf16", recipe=rl.Recipe(epochs=1, lr=0.01))
    assert {p.dtype for p in result.model.parameters()} == {torch.float32}
    full = fit(tiny_vgg, small, recipe=rl.Recipe(epochs=1, lr=0.01))
    assert not torch.equal(weights(result.model), weights(full.model))
    assert torch.allclose(weights(result.model), weights(full.model), atol=0.2)


def test_a_single_left_over_image_trains(digits, tiny_vgg):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = fit(tiny_vgg, digits.subset(129, 10), recipe=rl.Recipe(epochs=1, lr=0.01))
    moments = [m.num_batches_tracked for m in result.model.modules()
               if isinstance(m, nn.BatchNorm2d)]
    assert {int(steps) for steps in moments} == {2}  # 64 images, then 65


@pytest.mark.parametrize(("change", "says"), [
    ({"device": "gpu"}, "device"), ({"device": "cuda:99"}, "device"),
    ({"precision": "fp8"}, "precision"), ({"seed": -1}, "seed")])
def test_bad_options_are_named(small, tiny_vgg, change, says):
    with pytest.raises(ConfigError, match=says):
        fit(tiny_vgg, small, **change)


def test_a_model_that_does_not_fit_the_task_is_named(small):
    with pytest.raises(ConfigError, match="num_classes=10"):
        fit(rl.build_model("vgg11", width=0.1, num_classes=5), small)
    with pytest.raises(ConfigError, match="does not take images"):
        fit(rl.build_model("vgg11", width=0.1, in_channels=1), small)
