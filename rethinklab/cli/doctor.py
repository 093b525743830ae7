"""`rethinklab doctor`: what works on this machine, what is missing, and how to get it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import typer

from rethinklab.cli import options
from rethinklab.errors import first_line

OPTIONAL = (("jupyterlab", "the notebooks", "jupyterlab"),
            ("ray", "--engine ray", "'rethinklab[ray]'"),
            ("submitit", "--engine slurm", "'rethinklab[slurm]'"),
            ("tensorboard", "--tensorboard", "'rethinklab[tensorboard]'"))


def doctor(store: options.Store = "runs") -> None:
    """What works on this machine, what is missing, and how to get it."""
    findings = examine(store)
    for finding in findings:
        typer.echo(f"{'ok  ' if finding.fine else 'MISS' if finding.needed else 'note'}  "
                   f"{finding.topic:12} {finding.text}")
    if any(f.needed and not f.fine for f in findings):
        raise typer.Exit(1)


@dataclass(frozen=True)
class Finding:
    """One line of the report. needed: whether the kit cannot do its main job without it."""

    topic: str
    fine: bool
    text: str
    needed: bool = True


def examine(store: str | Path = "runs") -> list[Finding]:
    """Look at Python, torch, devices, threads, disk, the store and data."""
    try:
        places = _places(Path(store).expanduser())
    except (OSError, RuntimeError) as error:
        places = [Finding("store", False, f"{store} cannot be used ({error}); choose another with "
                          "--store")]
    return [*_software(), *_hardware(), *places]


def _software() -> list[Finding]:
    found = [Finding("python", sys.version_info >= (3, 10),
                     f"{platform.python_version()} (3.10 or newer is needed)")]
    try:
        import torch
        import torchvision

        found.append(Finding("torch", True, f"{torch.__version__}, torchvision "
                                            f"{torchvision.__version__}"))
    except Exception as error:  # a broken pair of the two raises anything
        found.append(Finding("torch", False, f"cannot be imported ({first_line(error)}); pip "
                             "install --upgrade torch torchvision"))
    for package, purpose, source in OPTIONAL:
        there = importlib.util.find_spec(package) is not None
        found.append(Finding(package, there, f"installed, for {purpose}" if there else
                             f"not installed, for {purpose}: pip install {source}", False))
    return found


def _hardware() -> list[Finding]:
    from rethinklab.experiments.engines.cores import available_cores

    cores = available_cores()
    found = [Finding("cores", True, f"{cores}: studies run {cores} worker(s) of one thread")]
    half = has_bf16()
    found.append(Finding("bf16", half, "computed by this processor: --precision bf16 is faster on "
                         "all but the smallest networks" if half else "not computed by this "
                         "processor, where --precision bf16 only slows down", False))
    asked = os.environ.get("OMP_NUM_THREADS")
    if asked and asked.isdigit() and int(asked) > cores:
        found.append(Finding("threads", False, f"OMP_NUM_THREADS={asked} is more than {cores} "
                             f"core(s) and slows training many times over; unset it", False))
    try:
        import torch

        from rethinklab.devices import pick_device

        if torch.cuda.is_available():
            name, memory = torch.cuda.get_device_name(), torch.cuda.get_device_properties(0)
            found.append(Finding("gpu", True, f"{name}, {memory.total_memory / 2**30:.0f} GiB"))
            found.append(_sharing())
        else:
            other = pick_device().type
            found.append(Finding("gpu", False, "none that torch can use; quick scale needs none",
                                 False) if other == "cpu" else
                         Finding("gpu", True, f"{other}, which trains step by step"))
    except Exception as error:  # torch is missing, or a driver does not fit it
        found.append(Finding("gpu", False, f"not known ({first_line(error)})", False))
    return found


def has_bf16() -> bool:
    """Whether the processor has instructions for bfloat16, as far as the system tells."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return platform.machine() == "arm64" and sys.platform == "darwin"
    return any(flag in flags for flag in ("avx512_bf16", "amx_bf16", " bf16"))


def _sharing() -> Finding:
    """Whether several trials can compute on a GPU at the same time."""
    from rethinklab.experiments.engines.mps import PROGRAM, TURNS

    there = shutil.which(PROGRAM) is not None
    return Finding("mps", there, f"{PROGRAM} is here: several trials compute on a GPU at once"
                   if there else f"{PROGRAM} is not here (it comes with NVIDIA's driver): {TURNS}",
                   False)


def _places(store: Path) -> list[Finding]:
    place = next(p for p in (store.resolve(), *store.resolve().parents) if p.exists())
    writable = place.is_dir() and os.access(place, os.W_OK)
    found = [Finding("store", writable, f"{store} can be written" if writable else
                     f"{store} cannot be written; choose another with --store")]
    free = shutil.disk_usage(place).free / 2**30
    found.append(Finding("disk", free > 1, f"{free:.0f} GiB free at {place}"))
    try:
        from rethinklab.data.cifar import ROOT_VARIABLE, data_root
    except ImportError:
        return found  # torch is missing, which is reported above
    root = data_root()
    for name, folder in (("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-python")):
        there = (root / folder).is_dir()
        found.append(Finding(name, there, f"in {root}" if there else
                             f"not in {root}; downloaded on first use, or set {ROOT_VARIABLE}",
                             False))
    return found
