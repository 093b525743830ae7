"""Small stores that tests share, and disks that are too small or read-only."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from rethinklab import cli
from rethinklab.experiments.store import Store
from rethinklab.experiments.trial import Stage


def said(result):
    """What was stored, without what the store adds."""
    return {name: value for name, value in result.items() if name not in ("attempts", "files")}


def stage(number: int = 0) -> Stage:
    return Stage("large", {"seed": number}, {"name": "digits"})


def family(seed: int) -> tuple[Stage, Stage, Stage]:
    """A large network, its plan, and the pruned one trained."""
    large = Stage("large", {"seed": seed, "model": "vgg16"}, {"name": "digits"})
    plan = Stage("plan", {"large": large.spec, "method": "l1", "seed": seed}, large.source)
    regime = Stage("regime", {"plan": plan.spec, "regime": "finetune", "seed": seed}, large.source)
    return large, plan, regime


def fill(number: int):
    """Writes files such as a training leaves."""
    from safetensors.numpy import save

    def write(folder: Path) -> None:
        draws = np.random.default_rng(number)
        (folder / "weights.safetensors").write_bytes(save({"weight": draws.normal(size=(8, 8))}))
        (folder / "history.csv").write_text("epoch,loss\n0,1.5\n1,0.5\n")
        (folder / "plan.json").write_text('{"keep": [1, 2]}')
    return write


def put(store: Store, one: Stage, **result) -> None:
    """Do a stage as a run does it."""
    with store.claim(one) as to_do:
        assert to_do
        store.write(one, {"address": one.address, "test_accuracy": 0.5, **result},
                    fill(one.spec["seed"]))


def two_studies(root: Path) -> Store:
    """Studies "first" and "second" of one family each."""
    store = Store(root)
    for seed, name in enumerate(("first", "second")):
        stages = family(seed)
        for one in stages:
            put(store, one)
        store.save_study(name, {"study": {"model": "vgg16"}, "addresses": {
            f"{seed}/unpruned": stages[0].address, f"{seed}/finetune": stages[2].address}})
    return store


def hashes(root: Path, but: str = "\0") -> dict[str, str]:
    """The SHA-256 of every file whose path does not hold `but`."""
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*")) if path.is_file() and but not in str(path)}


def call(*arguments) -> tuple[int, str, str]:
    """`rethinklab store` in this process: exit code, output and errors."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    words = ["rethinklab", "store", *map(str, arguments)]
    with patch.object(sys, "argv", words), redirect_stdout(out), redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
    return code, out.getvalue(), err.getvalue()


@contextmanager
def small_disk(folder: Path, kilobytes: int):
    """A file system of so many kilobytes at a new folder; skips where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("only the superuser may mount a small disk")
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs",
                           str(folder)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def read_only(folder: Path):
    """A folder in which nothing can be written, for the superuser neither."""
    if os.geteuid() != 0:
        folders = [folder, *(p for p in folder.rglob("*") if p.is_dir())]
        for one in folders:
            one.chmod(0o500)
        try:
            yield folder
        finally:
            for one in folders:
                one.chmod(0o700)
        return
    if subprocess.run(["mount", "--bind", str(folder), str(folder)],
                      capture_output=True).returncode:
        pytest.skip("no folder can be made read-only for the superuser here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def litter(store: Store) -> set[Path]:
    """What killed runs leave; all of it."""
    work, done, open_ = store.root / "work", family(0)[0], stage(7)
    files = {work / "probe-1": "", work / "draft-old" / "weights": "1234567",
             store.root / "store.json-1.tmp": "{", store.root / "studies" / "a.json-1.tmp": "{",
             work / f"{done.address}.lock": "", work / done.address / "checkpoint.pt": "12345",
             work / open_.address / "draft-1" / "weights": "123",
             work / open_.address / "checkpoint.pt-1.tmp": "12",
             work / "large-0123456789abcdef.lock": ""}
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (work / "plan-0123456789abcdef").mkdir()
    (work / open_.address / "checkpoint.pt").write_text("kept")
    (work / open_.address / "attempts").write_text("2")
    return {*files, work / "plan-0123456789abcdef"}
