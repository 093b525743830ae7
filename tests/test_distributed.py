"""Two and three processes against one: the same network, the same history, the same errors.

This file is also the script that torchrun starts: `main` below trains, and each process writes
what it got for the tests to compare.
"""

from __future__ import annotations

import os
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from image_folders import write_images
from small_networks import slim
from torch import nn

import rethinklab as rl
from rethinklab.errors import ConfigError, DivergenceError, OutOfTime
from rethinklab.models.selection import SelectConv2d
from rethinklab.pruners.slimming import SparsityPenalty
from rethinklab.pruners.sss import SparseScales
from rethinklab.seeds import generator
from rethinklab.trainers import distributed
from rethinklab.trainers.evaluate import correctness
from rethinklab.trainers.masks import HoldMasks

RECIPE = rl.Recipe(epochs=2, lr=0.02, batch_size=16)
RAGGED = rl.Recipe(epochs=2, lr=0.02, batch_size=4)  # 22 images: the last batch has two
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


class Selecting(nn.Module):
    """Normalisations of maps and of features, and a convolution that reads a selection."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv = SelectConv2d.from_conv(nn.Conv2d(8, 12, 3, stride=2, padding=1), [0, 2, 3, 7])
        self.bn2 = nn.BatchNorm2d(12, momentum=None)
        self.features = nn.Linear(12, 16)
        self.bn3 = nn.BatchNorm1d(16)
        self.head = nn.Linear(16, 10)

    def forward(self, images):
        maps = torch.relu(self.bn2(self.conv(torch.relu(self.bn1(self.stem(images))))))
        return self.head(torch.relu(self.bn3(self.features(maps.mean((2, 3))))))


class Remembers(nn.Module):
    """Keeps the mean of the images that its process saw."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.head = nn.Linear(3, 10)

    def forward(self, images):
        if self.training:
            self.seen = images.mean()
        return self.head(images.mean((2, 3)))


class Double(nn.Module):
    """A network in float64, where rounding is too small to grow visible in a deep one."""

    def __init__(self, model):
        super().__init__()
        self.model = model.double()

    def forward(self, images):
        return self.model(images.double())


class Views(nn.Module):
    """Does not take a batch without images."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3 * 32 * 32, 3)

    def forward(self, images):
        return self.head(images.reshape(images.shape[0], -1))


class Watch(rl.Callback):
    """Keeps the first step's gradients, what the epoch's random stream says, and whether a copy
    of the network can be tested on its own."""

    def __init__(self):
        self.gradients, self.draws, self.copied = None, [], True

    def after_backward(self, state):
        if self.gradients is None:
            self.gradients = {n: p.grad.clone() for n, p in state.model.named_parameters()}

    def after_step(self, state):
        self.draws.append(float(torch.rand(1)))

    def before_test(self, state):
        copy = deepcopy(state.model).eval()
        self.copied &= copy.state_dict().keys() == state.model.state_dict().keys()


def selecting():
    with rl.seeds.global_stream(0, "selecting"):
        return Selecting()


def masks(model):
    return {"stem.weight": torch.arange(model.stem.weight.numel()).view_as(model.stem.weight) % 3
            > 0}


def streamed(root, name="tree", size=32):
    return replace(rl.load_data(f"imagenet:{root / name}", size=size), workers=0)


def in_memory():
    return rl.load_data("digits").subset(60, 33)


def with_classes(count):
    """No map is so small that normalising over two images is a matter of rounding."""
    with rl.seeds.global_stream(0, "with classes"):
        model = slim()
        model[-1] = nn.Linear(128, count)
    return model


def outcome(result, **more):
    state = {name: value.clone() for name, value in result.model.state_dict().items()}
    patched = [name for name, module in result.model.named_modules() if "forward" in vars(module)]
    return {"state": state, "history": result.history.to_dict("list"), "patched": patched, **more}


def fit(model, data, recipe=RECIPE, **options):
    return rl.train(model, data, recipe, device="cpu", progress=False, **options)


def plain_runs(root):
    """What any number of processes must do alike."""
    small, watch, model = in_memory(), Watch(), selecting()
    tested = replace(small, test=rl.load_data("digits").train.take(torch.arange(1200)))
    selected = fit(model, small, callbacks=[HoldMasks(masks(model)), SparsityPenalty(1e-3), watch])
    scales = SparseScales(1e-3, "channels", small.input_shape)
    return {
        "streamed": outcome(fit(
            Double(rl.build_model("resnet18", width=0.125, num_classes=3, seed=1)),
            streamed(root, size=64), replace(RECIPE, batch_size=11))),
        "ragged": outcome(fit(with_classes(3), replace(streamed(root), workers=1), RAGGED)),
        "ragged in memory": outcome(fit(with_classes(10), small.subset(50, 20),
                                        replace(RAGGED, batch_size=8))),
        "selected": outcome(selected, gradients=watch.gradients, draws=watch.draws,
                            copied=watch.copied),
        "scaled": outcome(fit(with_classes(10), small, callbacks=[scales])),
        "correct": correctness(selected.model, tested),
        "tested": rl.evaluate(selected.model, tested),
    }


def shared_runs(root):
    """What only several processes do."""
    small, number, file = in_memory(), distributed.rank(), root / "run.pt"
    model = selecting()
    with torch.no_grad():  # only process 0 has the right weights
        for tensor in model.parameters():
            tensor.add_(number)
    found = {"whole": outcome(fit(model, small))}
    found["stopped"] = said(OutOfTime, lambda: fit(
        selecting(), small, checkpoint=file, stop=lambda state: number == 0))
    distributed.barrier()
    found["kept"] = [path.name for path in root.glob("run.pt*")]
    found["resumed"] = outcome(fit(selecting(), small, checkpoint=file))
    distributed.barrier()
    found["left"] = [path.name for path in root.glob("run.pt*")]
    found["diverged"] = said(DivergenceError,
                             lambda: fit(selecting(), small, rl.Recipe(epochs=4, lr=1e6)))
    found["seeds"] = said(ConfigError, lambda: fit(selecting(), small, seed=number))
    found["remembers"] = outcome(fit(Remembers(), small))
    found["objects"] = (distributed.broadcast_object({"from": number}),
                        distributed.gather_objects(number))
    return found


def said(kind, act):
    try:
        act()
    except kind as error:
        return str(error)
    return None


NORMS = {"maps": (nn.BatchNorm2d(5), (7, 5, 3, 4)), "features": (nn.BatchNorm1d(5), (7, 5)),
         "sequences": (nn.BatchNorm1d(5), (7, 5, 6)),
         "volumes": (nn.BatchNorm3d(5), (7, 5, 2, 3, 2)),
         "one sums up": (nn.BatchNorm2d(5, momentum=None), (7, 5, 3, 3)),
         "no scales": (nn.BatchNorm2d(5, affine=False), (7, 5, 3, 3)),
         "no memory": (nn.BatchNorm2d(5, track_running_stats=False), (7, 5, 3, 3)),
         "few": (nn.BatchNorm1d(5), (2, 5))}  # fewer than three processes


def normalised(name, part=(0, 1)):
    """Two steps of a normalisation on this part of a batch: outputs, gradients, running values."""
    norm, shape = NORMS[name]
    norm = deepcopy(norm).double().train()
    draws = generator(0, "norms", name)
    for tensor in norm.parameters():
        nn.init.uniform_(tensor, 0.5, 1.5, generator=draws)
    found = []
    for _ in range(2):
        images = torch.randn(shape, generator=draws, dtype=torch.float64) * 3 + 50
        weights = torch.randn(shape, generator=draws, dtype=torch.float64)
        start, end = (shape[0] * (part[0] + k) // part[1] for k in (0, 1))
        own = images[start:end].clone().requires_grad_()
        with distributed.synchronised(norm):
            output = norm(own)
        (output * weights[start:end]).square().sum().backward()
        found += [output.detach(), own.grad]
    gradients = {key: p.grad for key, p in norm.named_parameters()}
    norm.eval()
    return {"parts": found, "gradients": gradients, "buffers": dict(norm.named_buffers()),
            "plain": "forward" not in vars(norm)}


def half_precision(part=(0, 1)):
    """A bfloat16 batch, whose statistics are taken in float32."""
    images = torch.randn(8, 5, 4, 4, generator=generator(0, "half")).bfloat16()
    norm = nn.BatchNorm2d(5)
    start, end = (8 * (part[0] + k) // part[1] for k in (0, 1))
    with distributed.synchronised(norm):
        return norm(images[start:end]).detach(), norm.running_var


def single_value():
    """A batch of one value of each channel, in all processes together."""
    norm, images = nn.BatchNorm1d(3), torch.ones(1 - min(distributed.rank(), 1), 3)
    with distributed.synchronised(norm):
        return said(ValueError, lambda: norm(images))


def main(root):
    with distributed.start("cpu"):
        found = {**plain_runs(root), "threads": torch.get_num_threads(),
                 "norms": {name: normalised(name, distributed.part()) for name in NORMS},
                 "half": half_precision(distributed.part()), "single": single_value()}
        if distributed.world() == 2:
            found |= shared_runs(root)
        else:
            found["views"] = said(ConfigError, lambda: fit(Views(), streamed(root), RAGGED))
        torch.save(found, root / f"found-{distributed.world()}-{distributed.rank()}.pt")
        distributed.barrier()
        if distributed.world() == 3:  # a file that one process only comes across
            fit(with_classes(3), streamed(root, "broken"))
    assert not torch.distributed.is_initialized()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed")
    for name in ("tree", "broken"):
        write_images(folder / name / "train", {"cat": 9, "dog": 7, "eel": 6}, side=40)
        write_images(folder / name / "val", {"cat": 3, "dog": 4, "eel": 2}, side=50, seed=1)
    (folder / "broken" / "train" / "dog" / "003.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def alone(root):
    return plain_runs(root)


def launch(root, processes):
    """What each process found, and how torchrun ended."""
    ended = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
         str(processes), __file__, str(root)], check=False, capture_output=True, text=True,
        timeout=500, env={**os.environ, "OMP_NUM_THREADS": "1"})
    files = [root / f"found-{processes}-{number}.pt" for number in range(processes)]
    assert all(file.is_file() for file in files), ended.stderr[-3000:]
    return [torch.load(file, weights_only=False) for file in files], ended


@pytest.fixture(scope="module")
def two(root):
    return launch(root, 2)


@pytest.fixture(scope="module")
def three(root):
    return launch(root, 3)


@pytest.fixture(scope="module", params=["two", "three"])
def found(request):
    return request.getfixturevalue(request.param)[0]


RUNS = ("streamed", "ragged", "ragged in memory", "selected", "scaled")


@pytest.mark.parametrize("run", RUNS)
def test_several_processes_train_the_network_that_one_trains(found, alone, run):
    for mine in found:
        assert mine[run]["state"].keys() == alone[run]["state"].keys()
        for name, value in alone[run]["state"].items():
            assert torch.allclose(mine[run]["state"][name].double(), value.double(), **CLOSE), name
        for name in ("epoch", "lr", "train_loss", "test_loss", "train_accuracy", "test_accuracy"):
            assert mine[run]["history"][name] == pytest.approx(
                alone[run]["history"][name], rel=1e-4), name
        assert mine[run]["patched"] == []


@pytest.mark.parametrize("run", RUNS)
def test_all_processes_have_the_same_to_the_bit(found, run):
    for mine in found[1:]:
        same_bits(mine[run], found[0][run])


@pytest.mark.parametrize("run", ["whole", "resumed", "remembers"])
def test_so_they_have_whatever_they_began_with(two, run):
    same_bits(*(mine[run] for mine in two[0]))


def same_bits(one, other):
    assert one["history"] == other["history"]
    for name, value in one["state"].items():
        assert torch.equal(other["state"][name], value), name


def test_the_gradients_are_those_of_the_whole_batch(found, alone):
    for mine in found:
        for name, value in alone["selected"]["gradients"].items():
            assert torch.allclose(mine["selected"]["gradients"][name], value, rtol=1e-4,
                                  atol=1e-6), name


def test_masked_weights_stay_exactly_zero(found):
    mask = masks(selecting())["stem.weight"]
    for mine in found:
        weight = mine["selected"]["state"]["stem.weight"]
        assert torch.equal(weight != 0, mask)


def test_each_process_draws_its_own_dropout(found):
    for number, mine in enumerate(found):
        draws = generator(0, "dropout", 0, number)
        assert mine["selected"]["draws"][0] == float(torch.rand(1, generator=draws))
        assert mine["selected"]["copied"]


def test_testing_is_shared_and_every_process_has_all_of_it(found, alone):
    for mine in found:
        assert mine["correct"].shape == (1200,)
        assert torch.equal(mine["correct"], found[0]["correct"])
        assert mine["tested"] == found[0]["tested"]
        assert mine["tested"][0] == float(mine["correct"].double().mean())
        assert mine["tested"] == pytest.approx(alone["tested"], rel=1e-4, abs=2 / 1200)
        assert (mine["correct"] == alone["correct"]).sum() >= 1198  # rounding may turn one over


def test_the_first_process_decides_keeps_and_resumes(two):
    for mine in two[0]:
        assert "stopped after epoch 1 of 2" in mine["stopped"]
        assert (mine["kept"], mine["left"]) == (["run.pt"], [])
        assert mine["resumed"]["history"]["epoch"] == [1, 2]
        for name, value in mine["whole"]["state"].items():
            assert torch.allclose(mine["resumed"]["state"][name].double(), value.double(),
                                  rtol=1e-5, atol=1e-7), name
        for name in ("train_loss", "test_loss"):
            assert mine["resumed"]["history"][name] == pytest.approx(
                mine["whole"]["history"][name], rel=1e-5)


def test_errors_are_those_of_all_processes(two, three):
    for mine in two[0]:
        assert "training diverged in epoch" in mine["diverged"] == two[0][0]["diverged"]
        assert mine["seeds"] == ("process 1 has seed 1 where process 0 has 0; processes that train "
                                 "one network together must all be given the same.")
    for mine in three[0]:
        assert "22 training images leave a batch of fewer images than the 3 p" in mine["views"]


def test_objects_travel(two):
    for mine in two[0]:
        assert mine["objects"] == ({"from": 0}, [0, 1])
        assert mine["threads"] == 1


@pytest.mark.parametrize("name", NORMS)
def test_normalisation_is_that_of_the_whole_batch(found, name):
    whole = normalised(name)
    for step, value in enumerate(whole["parts"]):
        together = torch.cat([mine["norms"][name]["parts"][step] for mine in found])
        assert torch.allclose(together, value, rtol=1e-9, atol=1e-9)
    for key, value in whole["gradients"].items():
        total = sum(mine["norms"][name]["gradients"][key] for mine in found)
        assert torch.allclose(total, value, rtol=1e-9, atol=1e-9)
    for mine in found:
        assert mine["norms"][name]["plain"]
        assert mine["norms"][name]["buffers"].keys() == whole["buffers"].keys()
        for key, value in whole["buffers"].items():
            assert torch.allclose(mine["norms"][name]["buffers"][key].double(), value.double(),
                                  rtol=1e-10, atol=1e-12), key


def test_statistics_of_half_precision_are_in_full(found):
    output, variance = half_precision()
    together = torch.cat([mine["half"][0] for mine in found])
    assert together.dtype == output.dtype == torch.bfloat16
    assert torch.allclose(together.float(), output.float(), atol=0.02)
    for mine in found:
        assert torch.allclose(mine["half"][1], variance, rtol=1e-5)


def test_one_value_has_no_variance_in_any_number_of_processes(found):
    for mine in found:
        assert "more than one value" in mine["single"]
    assert "more than 1 value" in single_value()


def test_an_error_of_one_process_ends_all(three, two):
    assert two[1].returncode == 0
    assert three[1].returncode != 0
    assert "003.png cannot be read" in three[1].stderr


def test_without_torchrun_there_is_one_process(monkeypatch):
    for name in distributed.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with distributed.start():
        assert (distributed.rank(), distributed.world(), distributed.is_main()) == (0, 1, True)
        assert not torch.distributed.is_initialized()
        distributed.barrier()
        assert distributed.broadcast_object("value") == "value"
        assert distributed.gather_objects(3) == [3]
        norm = nn.BatchNorm2d(3)
        with distributed.synchronised(norm):
            assert "forward" not in vars(norm)


def test_a_process_without_a_gpu_of_its_own_is_told(monkeypatch):
    for name, value in {"RANK": "2", "LOCAL_RANK": "2", "WORLD_SIZE": "3",
                        "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with (pytest.raises(ConfigError, match=r"process 2 .*--nproc-per-node 2 or fewer"),
          distributed.start()):
        pass


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
