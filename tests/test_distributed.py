"""Two and three processes against one, or against a batch split by hand where they differ."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import distributed_runs
import pytest
import torch
from distributed_runs import CLOSE, Normalised, Plain, drawn, masks, plain_runs, split_by_hand
from image_folders import write_images
from processes import start
from torch import nn

from rethinklab.errors import ConfigError
from rethinklab.pruners.sss import SparseScales
from rethinklab.seeds import generator
from rethinklab.trainers import distributed

pytestmark = pytest.mark.slow


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


ONE_OF_SEVERAL = """
import os
import sys
from pathlib import Path

rank, world, port, log, root = sys.argv[1:]
os.environ |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world,
               "MASTER_ADDR": "localhost", "MASTER_PORT": port}
os.dup2(os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND), 2)
import distributed_runs
distributed_runs.main(Path(root))
"""


def collect(root, processes, said):
    files = [root / f"found-{processes}-{number}.pt" for number in range(processes)]
    assert all(file.is_file() for file in files), said[-3000:]
    return [torch.load(file, weights_only=False) for file in files]


@pytest.fixture(scope="module")
def two(root):
    """What each of two processes found that are as torchrun starts them, and how they ended."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    log = root / "log"
    log.touch()
    processes = [start(ONE_OF_SEVERAL, *map(str, (rank, 2, port, log, root))) for rank in range(2)]
    for process in processes:
        process.join(500)
    said = log.read_text()
    return collect(root, 2, said), [process.exitcode for process in processes], said


@pytest.fixture(scope="module")
def three(root):
    """The same of three by torchrun itself."""
    ended = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3",
         distributed_runs.__file__, str(root)], check=False, capture_output=True, text=True,
        timeout=500, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return collect(root, 3, ended.stderr), ended.returncode, ended.stderr


@pytest.fixture(scope="module", params=["two", "three"])
def found(request):
    return request.getfixturevalue(request.param)[0]


RUNS = ("streamed", "masked", "scaled")


def close_states(state, wanted):
    assert state.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.allclose(state[name].double(), value.double(), **CLOSE), name


@pytest.mark.parametrize("run", RUNS)
def test_without_batch_norm_several_processes_train_the_network_that_one_trains(found, alone, run):
    for mine in found:
        close_states(mine[run]["state"], alone[run]["state"])
        for name in ("epoch", "lr", "train_loss", "test_loss", "train_accuracy", "test_accuracy"):
            assert mine[run]["history"][name] == pytest.approx(
                alone[run]["history"][name], rel=1e-4), name


def test_a_scale_that_training_drives_is_driven_alike(found, alone):
    moved = torch.cat(alone["scaled"]["scales"])
    assert (moved - 1).abs().max() > 1e-3
    for mine in found:
        assert torch.allclose(torch.cat(mine["scaled"]["scales"]), moved, **CLOSE)


def test_a_last_batch_joins_the_one_before_where_it_cannot_be_shared(two, three, alone):
    for mine in two[0]:  # five images are enough for two processes
        close_states(mine["uneven"]["state"], alone["uneven"]["state"])
    for mine in three[0]:
        difference = (mine["uneven"]["state"]["head.weight"]
                      - alone["uneven"]["state"]["head.weight"])
        assert difference.abs().max() > 1e-4


def test_batch_norm_is_over_the_part_of_a_process(found):
    wanted = split_by_hand(len(found))
    for mine in found:
        assert mine["parts"] == len(found)
        close_states(mine["normalised"]["state"], wanted)


@pytest.mark.parametrize("run", [*RUNS, "uneven", "normalised", "whole", "resumed", "remembers"])
def test_all_processes_have_the_same_to_the_bit_whatever_they_began_with(found, run):
    for mine in found[1:]:
        assert mine[run]["history"] == found[0][run]["history"]
        for name, value in mine[run]["state"].items():
            assert torch.equal(found[0][run]["state"][name], value), name


def test_callbacks_see_the_gradients_of_the_whole_batch(found, alone):
    wanted = alone["masked"]["gradients"]
    assert "unread.weight" not in wanted
    for mine in found:
        assert mine["masked"]["gradients"].keys() == wanted.keys()
        for name, value in wanted.items():
            assert torch.allclose(mine["masked"]["gradients"][name], value, rtol=1e-4,
                                  atol=1e-6), name
        assert mine["masked"]["plain"]


def test_masked_weights_stay_exactly_zero(found):
    mask = masks(drawn(Plain))["stem.weight"]
    for mine in found:
        assert torch.equal(mine["masked"]["state"]["stem.weight"] != 0, mask)


def test_each_process_draws_its_own_dropout(found):
    for number, mine in enumerate(found):
        draws = generator(0, "dropout", 0, number)
        assert mine["masked"]["draws"][0] == float(torch.rand(1, generator=draws))


def test_testing_is_shared_and_every_process_has_all_of_it(found, alone):
    for mine in found:
        assert mine["correct"].shape == (1200,)
        assert torch.equal(mine["correct"], found[0]["correct"])
        assert mine["tested"] == found[0]["tested"]
        assert mine["tested"][0] == float(mine["correct"].double().mean())
        assert mine["tested"] == pytest.approx(alone["tested"], rel=1e-4, abs=2 / 1200)
        assert (mine["correct"] == alone["correct"]).sum() >= 1198  # rounding may turn one over


def test_the_first_process_decides_keeps_and_resumes(found):
    for mine in found:
        assert "stopped after epoch 1 of 2" in mine["stopped"]
        assert (mine["kept"], mine["left"]) == (["run.pt"], [])
        assert mine["names"] == list(Normalised().state_dict())
        assert mine["resumed"]["history"]["epoch"] == [1, 2]
        close_states(mine["resumed"]["state"], mine["whole"]["state"])
        for name in ("train_loss", "test_loss"):
            assert mine["resumed"]["history"][name] == pytest.approx(
                mine["whole"]["history"][name], rel=1e-5)


def test_errors_are_those_of_all_processes(found):
    for mine in found:
        assert "training diverged in epoch" in mine["diverged"] == found[0]["diverged"]
        assert mine["seeds"] == ("process 1 has seed 1 where process 0 has 0; processes that train "
                                 "one network together must all be given the same.")
        assert f"choose {2 * len(found)} or more, or fewer processes" in mine["tiny"]


def test_objects_travel(found):
    for mine in found:
        assert mine["objects"] == ({"from": 0}, list(range(len(found))))
        assert mine["threads"] == 1


def test_an_error_of_one_process_ends_all(three, two):
    assert two[1] == [0, 0]
    assert "Warning" not in two[2]
    assert three[1] != 0
    assert "003.png cannot be read" in three[2]


def test_without_torchrun_there_is_one_process(monkeypatch):
    for name in distributed.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with distributed.start():
        assert (distributed.rank(), distributed.world(), distributed.is_main()) == (0, 1, True)
        assert not torch.distributed.is_initialized()
        distributed.barrier()
        assert distributed.broadcast_object("value") == "value"
        assert distributed.gather_objects(3) == [3]
        assert distributed.batch_parts() == 1


def test_a_process_without_a_gpu_of_its_own_is_told(monkeypatch):
    for name, value in {"RANK": "2", "LOCAL_RANK": "2", "WORLD_SIZE": "3",
                        "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with (pytest.raises(ConfigError, match=r"process 2 .*--nproc-per-node 2 or fewer"),
          distributed.start()):
        pass


def test_on_a_cpu_batch_norm_is_not_synchronised():
    with (pytest.raises(ConfigError, match=r"--sync-batchnorm\) needs GPUs.*leave it out"),
          distributed.start("cpu", sync_batchnorm=True)):
        pass


def test_a_synchronised_network_has_the_tensors_of_the_plain_one():
    model = Normalised()
    twin = distributed._synchronised(model)
    assert sum(isinstance(module, nn.SyncBatchNorm) for module in twin.modules()) == 3
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in model.modules())
    for kind in ("named_parameters", "named_buffers"):
        own, other = dict(getattr(model, kind)()), dict(getattr(twin, kind)())
        assert own.keys() == other.keys()
        assert all(other[name] is value for name, value in own.items())


def test_scales_of_structures_and_synchronised_batch_norm_exclude_each_other():
    model = Normalised()
    SparseScales(1e-3, "channels", (3, 32, 32)).prepare(model)
    with pytest.raises(ConfigError, match=r"bn1 .*structure selection.*leave out sync_batchnorm"):
        distributed._synchronised(model)
