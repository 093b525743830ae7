"""The graph's bookkeeping without a GPU: a stand-in for torch.cuda whose replay runs the step.

Recording runs the step here instead of only noting it down, so whatever is not set back shows.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch
from small_networks import Shrink
from torch import nn

import rethinklab as rl
from rethinklab.trainers import loop, step

CPU = torch.device("cpu")
RECIPE = rl.Recipe(epochs=4, lr=0.05)


class FakeCuda:
    """What `GraphStep` asks of torch.cuda."""

    def __init__(self, patch):
        self.recordings, self.refusal, self.sync = 0, None, 0
        self.failure, self.ended = None, 0
        self.stream = SimpleNamespace(wait_stream=lambda other: None)
        for name, value in {
                "Stream": lambda device: self.stream, "current_stream": lambda: self.stream,
                "stream": lambda s: nullcontext(), "set_stream": lambda s: None,
                "device": lambda d: nullcontext(), "graph": self.record,
                "CUDAGraph": lambda: SimpleNamespace(
                    replay=None, capture_begin=lambda **k: None, capture_end=self.end),
                "get_sync_debug_mode": lambda: self.sync, "set_sync_debug_mode": self.set_sync,
                "get_rng_state": lambda d: torch.zeros(1), "set_rng_state": lambda v, d: None,
        }.items():
            patch.setattr(step.torch.cuda, name, value)

    def set_sync(self, mode):
        self.sync = mode
        if mode == "error" and self.refusal:
            raise self.refusal

    @contextmanager
    def record(self, graph, stream, capture_error_mode):
        assert self.sync == 0
        self.recordings += 1
        graph.replay = self.replay
        yield
        if self.failure:
            raise self.failure

    def end(self):
        self.ended += 1

    def replay(self):
        self.owner._advance(self.owner.images, self.owner.labels)


@pytest.fixture
def cuda(monkeypatch):
    fake = FakeCuda(monkeypatch)

    def graph_step(state, precision, watchers, device, capture=True):
        fake.owner = step.GraphStep(state, precision, watchers, device)
        return fake.owner

    monkeypatch.setattr(loop, "make_step", graph_step)
    return fake


def weights(model):
    return torch.cat([value.double().flatten() for value in model.state_dict().values()])


def fit(model, data, **options):
    return rl.train(model, data, options.pop("recipe", RECIPE), progress=False, device="cpu",
                    **options)


class Noisy(nn.Module):
    """Has weights, statistics, dropout, and a buffer that no checkpoint keeps."""

    def __init__(self):
        super().__init__()
        self.body = rl.build_model("vgg11", width=0.0625, seed=1)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("calls", torch.zeros(1), persistent=False)

    def forward(self, images):
        if self.training:
            self.calls += 1
        return self.drop(self.body(images)) + 0 * self.calls


@pytest.mark.parametrize("callbacks", [[], [Shrink()]])
def test_rehearsals_leave_no_trace(small, monkeypatch, callbacks):
    eager = fit(Noisy(), small, callbacks=callbacks)
    with monkeypatch.context() as patch:
        fake = FakeCuda(patch)

        def graph_step(*arguments):
            fake.owner = step.GraphStep(*arguments[:4])
            return fake.owner

        patch.setattr(loop, "make_step", graph_step)
        replayed = fit(Noisy(), small, callbacks=callbacks)
    assert torch.equal(weights(eager.model), weights(replayed.model))
    assert eager.history.drop(columns="seconds").equals(replayed.history.drop(columns="seconds"))
    assert replayed.model.calls == eager.model.calls == 16
    assert fake.recordings == 3  # one for each learning rate
    assert fake.owner.replays == 12  # 198 images: three full batches an epoch
    assert all(p.grad is None for p in replayed.model.parameters())


def test_a_step_that_waits_for_the_device_is_done_eagerly_with_one_warning(small, cuda):
    cuda.refusal = RuntimeError("called a synchronizing CUDA operation")
    with pytest.warns(UserWarning, match="cannot be recorded.*step by step") as caught:
        result = fit(Noisy(), small)
    assert len(caught) == 1
    assert (cuda.recordings, cuda.owner.replays) == (0, 0)
    assert torch.isfinite(weights(result.model)).all()


def test_a_recording_that_fails_is_ended_and_leaves_no_trace(small, cuda, monkeypatch):
    cuda.failure = RuntimeError("operation not permitted when stream is capturing")
    with pytest.warns(UserWarning, match="not permitted"):
        result = fit(Noisy(), small)
    assert (cuda.ended, cuda.owner.replays) == (1, 0)
    monkeypatch.setattr(loop, "make_step", step.make_step)
    assert torch.equal(weights(result.model), weights(fit(Noisy(), small).model))


def test_tensors_put_elsewhere_are_noticed(small, cuda):
    class Move(rl.Callback):
        def before_test(self, state):
            first = next(state.model.parameters())
            first.data = first.data.clone()

    fit(Noisy(), small, recipe=rl.Recipe(epochs=3, lr=0.01, milestones=()), callbacks=[Move()])
    assert cuda.recordings == 3


def test_a_cpu_and_the_switches_mean_eager_steps(monkeypatch):
    model = nn.Linear(2, 2)
    state = rl.trainers.callbacks.TrainState(model, torch.optim.SGD(model.parameters()), RECIPE,
                                             1, range(1))
    assert type(step.make_step(state, "fp32", [], CPU)) is step.EagerStep
    monkeypatch.setenv("RETHINKLAB_CAPTURE", "0")
    zeros = torch.zeros
    monkeypatch.setattr(step.torch, "zeros", lambda *a, **k: zeros(*a, dtype=k["dtype"]))
    assert type(step.make_step(state, "fp32", [], torch.device("cuda"))) is step.EagerStep
    monkeypatch.delenv("RETHINKLAB_CAPTURE")
    assert type(step.make_step(state, "fp32", [], torch.device("cuda"), False)) is step.EagerStep
