"""On a GPU: steps from a CUDA graph against eager ones, and training as a whole."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from small_networks import Shrink
from torch import nn

import rethinklab as rl
from rethinklab.data import batches as batches_module
from rethinklab.data.batches import TrainingBatches
from rethinklab.trainers import checkpoint as checkpoint_module
from rethinklab.trainers.callbacks import TrainState
from rethinklab.trainers.step import EagerStep, GraphStep

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(),
                                reason="these tests need a GPU that torch can use")
RECIPE = rl.Recipe(epochs=4, lr=0.02, batch_size=32)


@pytest.fixture(autouse=True)
def exact():
    """Float32 in full, so that the two kinds of steps differ by rounding only."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


TOGETHER = """
import sys
import torch
import rethinklab as rl
from rethinklab.trainers import distributed
from test_gpu import whole_batches_of

torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
torch.distributed.init_process_group("gloo")  # as NCCL wants a GPU for each process
distributed._whole_batches = True
result = whole_batches_of()
torch.save(result.model.state_dict(), f"{sys.argv[1]}/{distributed.rank()}.pt")
"""


def whole_batches_of():
    """A short run with normalisation and batches that two processes have uneven parts of."""
    return rl.train(rl.build_model("vgg11", width=0.125, seed=1), rl.load_data("digits").subset(
        135, 33), replace(RECIPE, epochs=2, batch_size=27), device="cuda", progress=False)


class Noisy(nn.Module):
    """Dropout after a network."""

    def __init__(self):
        super().__init__()
        self.body = rl.build_model("vgg11", width=0.125, seed=1)
        self.drop = nn.Dropout(0.3)

    def forward(self, images):
        return self.drop(self.body(images))


def run(kind, model, data, steps, callbacks=(), precision="fp32"):
    """The step object after `steps` steps, with a change of learning rate half-way."""
    device = torch.device("cuda")
    model = deepcopy(model).to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4,
                                fused=True)
    batches = TrainingBatches(data.to(device), 32, seed=0)
    state = TrainState(model, optimizer, RECIPE, len(batches), range(4))
    step = kind(state, precision, callbacks, device)
    step.start_epoch()
    torch.manual_seed(5)
    done = 0
    for epoch in range(100):
        for images, labels in batches.epoch(epoch):
            optimizer.param_groups[0]["lr"] = 0.01 if done < steps // 2 else 0.001
            step(images, labels)
            done += 1
            if done == steps:
                return step


def values(step):
    return torch.cat([p.detach().flatten() for p in step.state.model.parameters()])


@pytest.mark.parametrize("make", [Noisy, lambda: rl.build_model("vgg11", width=0.125, seed=1)],
                         ids=["dropout", "plain"])
@pytest.mark.parametrize("callbacks", [(), (Shrink(),)], ids=["bare", "callback"])
def test_replayed_steps_are_eager_steps(small, make, callbacks):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*cannot be recorded")
        graph = run(GraphStep, make(), small, 30, callbacks)
    eager = run(EagerStep, make(), small, 30, callbacks)
    assert 20 < graph.replays < 30  # 198 images: the last batch of an epoch is short
    assert graph.totals()[0] == pytest.approx(eager.totals()[0], rel=1e-2)
    difference = (values(graph) - values(eager)).norm() / values(eager).norm()
    assert difference < 1e-2
    tracked = [m.num_batches_tracked.item() for m in graph.state.model.modules()
               if isinstance(m, nn.BatchNorm2d)]
    assert set(tracked) == {30}
    if callbacks:
        assert not next(graph.state.model.parameters())[0].any()


def test_a_single_replayed_step_is_the_eager_step(small):
    model = rl.build_model("vgg11", width=0.125, seed=1)
    graph, eager = (run(kind, model, small, 1) for kind in (GraphStep, EagerStep))
    assert graph.replays == 1
    assert torch.allclose(values(graph), values(eager), rtol=1e-3, atol=1e-4)
    grads = [[p.grad for p in s.state.model.parameters()] for s in (graph, eager)]
    assert all(torch.allclose(a, b, rtol=1e-2, atol=1e-4) for a, b in zip(*grads, strict=True))


class Looks(nn.Module):
    """A network whose forward pass reads a value back."""

    def __init__(self):
        super().__init__()
        self.body = Noisy()

    def forward(self, images):
        outputs = self.body(images)
        return outputs if float(outputs.detach().sum()) < 1e9 else outputs * 0


class Waits(Looks):
    """One that waits for the device, which rehearsals need not notice."""

    def forward(self, images):
        outputs = self.body(images)
        torch.cuda.synchronize()
        return outputs


@pytest.mark.parametrize("network", [Looks, Waits])
def test_a_network_that_cannot_be_recorded_trains_eagerly(small, network):
    with pytest.warns(UserWarning, match="cannot be recorded") as caught:
        graph = run(GraphStep, network(), small, 20)
    assert sum("cannot be recorded" in str(w.message) for w in caught) == 1
    assert graph.replays == 0
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    eager = run(EagerStep, network(), small, 20)
    assert (values(graph) - values(eager)).norm() / values(eager).norm() < 1e-2


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("capture", [True, False])
def test_training_runs_and_learns(digits, precision, capture):
    watch = Shrink()
    data = digits.subset(3000, 500)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*cannot be recorded")
        result = rl.train(rl.build_model("vgg11", width=0.25), data,
                          rl.Recipe(epochs=12, lr=0.05), device="cuda", precision=precision,
                          capture=capture, progress=False)
    assert result.test_accuracy > 0.5
    assert {p.dtype for p in result.model.parameters()} == {torch.float32}
    assert all(p.grad is None for p in result.model.parameters()) or not capture
    rl.train(result.model, data, rl.Recipe(epochs=1, lr=0.01), device="cuda", capture=capture,
             callbacks=[watch], progress=False)
    assert watch.calls == 47


def test_both_ways_count_the_same_hits(small):
    model = rl.build_model("vgg11", width=0.125, seed=1)
    histories = [rl.train(model, small, rl.Recipe(epochs=1, lr=0.001), device="cuda",
                          capture=capture, progress=False).history for capture in (True, False)]
    for column in ("train_loss", "test_loss", "train_accuracy", "test_accuracy"):
        assert histories[0][column][0] == pytest.approx(histories[1][column][0], abs=0.03)


def test_a_stopped_run_goes_on(small, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_module.Checkpoint.__init__, "__defaults__", (0.0,))

    class Stop(rl.Callback):
        def after_epoch(self, state):
            if state.epoch == 2:
                raise KeyboardInterrupt

    model, file = rl.build_model("vgg11", width=0.125, seed=1), tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        rl.train(model, small, RECIPE, device="cuda", checkpoint=file, callbacks=[Stop()],
                 progress=False)
    resumed = rl.train(model, small, RECIPE, device="cuda", checkpoint=file, progress=False)
    whole = rl.train(model, small, RECIPE, device="cuda", progress=False)
    assert resumed.history["epoch"].tolist() == [1, 2, 3, 4]
    assert resumed.history["train_loss"].tolist() == pytest.approx(
        whole.history["train_loss"].tolist(), rel=0.1)


def test_a_gpu_sees_the_images_of_the_cpu(small):
    data = replace(small, pad=4, flip=True)
    here, there = (list(TrainingBatches(data.to(d), 64, 0).epoch(0)) for d in ("cpu", "cuda"))
    assert TrainingBatches(data.to("cuda"), 64, 0).group > 1
    for (images, labels), (images_too, labels_too) in zip(here, there, strict=True):
        assert torch.allclose(images, images_too.cpu(), atol=1e-6)
        assert torch.equal(labels, labels_too.cpu())
    images, labels = batches_module.calibration_batch(data.to("cuda"), 20, 3)
    plain, plain_labels = batches_module.calibration_batch(data, 20, 3)
    assert torch.allclose(images.cpu(), plain, atol=1e-6)
    assert torch.equal(labels.cpu(), plain_labels)


def test_nothing_is_left_as_it_was_set_for_recording(small):
    before = torch.backends.cudnn.benchmark, torch.cuda.get_sync_debug_mode()
    stream = torch.cuda.current_stream()
    rl.train(Noisy(), small, rl.Recipe(epochs=1, lr=0.01), device="cuda", progress=False)
    assert (torch.backends.cudnn.benchmark, torch.cuda.get_sync_debug_mode()) == before
    assert torch.cuda.current_stream() == stream


def test_with_synchronised_batch_norm_two_processes_train_the_network_that_one_trains(tmp_path):
    (tmp_path / "together.py").write_text(TOGETHER)
    ended = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         str(tmp_path / "together.py"), str(tmp_path)], check=False, capture_output=True,
        text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1",
                                     "PYTHONPATH": os.pathsep.join(sys.path)})
    assert ended.returncode == 0, ended.stderr[-3000:]
    one, other = (torch.load(tmp_path / f"{number}.pt", map_location="cuda") for number in (0, 1))
    alone = whole_batches_of().model.state_dict()
    assert one.keys() == alone.keys()
    for name, value in alone.items():
        assert torch.equal(one[name], other[name]), name
        assert torch.allclose(one[name].double(), value.double(), rtol=1e-2, atol=1e-3), name
