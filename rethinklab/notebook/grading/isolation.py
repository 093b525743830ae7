"""Keeping a submission apart from the rest of the machine, by what the system has for it:
bubblewrap, else a container of podman or docker, else a plain process with limits.

In a container it is alone in namespaces of its own (processes, network, mounts): it sees the
system's programs, Python with its packages, the kit and the recorded results, all read-only, and an
empty folder of limited size to write in. The lessons, what others handed in and the marks are not
there. It ends with the marker.
"""

from __future__ import annotations

import os
import shutil
import signal
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rethinklab.notebook.grading.inside import MEMORY, PROCESSES

PROGRAMS = {"bubblewrap": "bwrap", "podman": "podman", "docker": "docker"}
IMAGE = "rethinklab"  # of podman and docker
START = "from rethinklab.notebook.grading.inside import main; main()"
PROBE = ("import cloudpickle, numpy, rethinklab.notebook.grading.inside, importlib.util as found; "
         "assert found.find_spec('torch'), 'torch is missing'")
SECONDS = 120  # until a container that does not start is given up
FILES, SHARED = 256 * 2**20, 64 * 2**20  # bytes of all files, and of shared memory
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store",
          "/sys/devices/system/cpu", *(f"/etc/{name}" for name in (
              "ld.so.cache", "alternatives", "fonts", "localtime", "passwd", "group")))
PASSED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
              "VECLIB_MAXIMUM_THREADS")
TRUST = ("so each submission runs as a plain process of yours, with limits on time and memory "
         "alone: it could read and change your files. Install bubblewrap, or give "
         "--trust-submissions where you know who wrote them.")


@dataclass(frozen=True)
class Project:
    """Where things are. root: holds data/results and notebooks. package: the folder rethinklab
    that submissions are marked with."""

    root: Path
    package: Path

    @property
    def sources(self) -> Path:
        return self.root / "notebooks" / "source"


@dataclass(frozen=True)
class Isolation:
    """How submissions are kept apart. name: in PROGRAMS, or "" for plain processes. hidden:
    folders that no submission may see. remark: why nothing better is at hand."""

    name: str
    project: Project
    hidden: tuple[Path, ...] = ()
    remark: str = ""

    @contextmanager
    def start(self, code: str = START, errors: int | IO[bytes] = subprocess.DEVNULL
              ) -> Iterator[subprocess.Popen[bytes]]:
        """A process that executes `code`, with pipes to its input and output; at the end of the
        context it is ended, and what it wrote is deleted."""
        with tempfile.TemporaryDirectory(prefix="rethinklab-grade-",
                                         ignore_cleanup_errors=True) as folder:
            for name in ("tmp", "notebooks"):
                Path(folder, name).mkdir()
            Path(folder, "data").symlink_to((self.project.root / "data").resolve())
            where = {"bubblewrap": "/tmp", "": folder}.get(self.name)
            process = subprocess.Popen(
                self.command(code, Path(folder).name), stdin=subprocess.PIPE, bufsize=0,
                stdout=subprocess.PIPE, stderr=errors, cwd=folder, start_new_session=True,
                env=dict(os.environ) if where is None else self._environment(where))
            try:
                yield process
            finally:
                if where is None and process.poll() is None:  # the client is not the container
                    subprocess.run([PROGRAMS[self.name], "kill", Path(folder).name],
                                   capture_output=True, check=False)
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                for pipe in filter(None, (process.stdin, process.stdout)):
                    pipe.close()

    def command(self, code: str, name: str = "probe") -> list[str]:
        """The command line for that; `name` is the container's."""
        if self.name == "bubblewrap":
            return [*self._bubblewrap(), sys.executable, "-c", code]
        if self.name:
            return [*self._container(name), "python", "-c", code]
        return [sys.executable, "-c", code]

    def _bubblewrap(self) -> list[str]:
        shown = [*map(Path, SYSTEM), *_pythons()]
        words = ["bwrap", "--unshare-all", "--as-pid-1", "--die-with-parent", "--cap-drop", "ALL",
                 "--dev", "/dev", "--size", str(SHARED), "--tmpfs", "/dev/shm", "--remount-ro",
                 "/dev", "--proc", "/proc"]
        for place in shown:
            words += ["--ro-bind-try", str(place), str(place)]
        for place in self.hidden:
            if any(place.resolve().is_relative_to(seen) for seen in shown):
                words += ["--tmpfs", str(place.resolve())]
        for inner, outer in self._kit().items():
            words += ["--ro-bind", str(outer), inner]
        return [*words, "--dir", "/kit/notebooks", "--size", str(FILES), "--tmpfs", "/tmp",
                "--chdir", "/tmp", "--remount-ro", "/"]

    def _container(self, name: str) -> list[str]:
        words = [PROGRAMS[self.name], "run", "--rm", "-i", "--name", name, "--network", "none",
                 "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
                 "--pids-limit", str(2 * PROCESSES), "--memory", str(2 * MEMORY), "--shm-size",
                 str(SHARED), "--tmpfs", f"/tmp:size={FILES}", "--tmpfs", "/kit/notebooks:size=4k",
                 "--workdir", "/tmp"]
        words += (["--user", f"{os.getuid()}:{os.getgid()}"] if self.name == "docker" else
                  ["--userns", "keep-id"] if os.getuid() else [])
        for inner, outer in self._kit().items():
            words += ["--volume", f"{outer}:{inner}:ro"]
        for variable, value in self._environment("/tmp").items():
            if variable not in PASSED:
                words += ["--env", f"{variable}={value}"]
        return [*words, os.environ.get("RETHINKLAB_IMAGE", IMAGE)]

    def _kit(self) -> dict[str, Path]:
        """{where it is inside: where it is outside}."""
        kit = {"/kit/rethinklab": self.project.package, "/kit/data": self.project.root / "data"}
        return {inner: outer.resolve() for inner, outer in kit.items()}

    def _environment(self, home: str) -> dict[str, str]:
        kit = "/kit" if self.name else str(self.project.package.parent)
        return {**{name: os.environ[name] for name in PASSED if name in os.environ},
                **dict.fromkeys(ONE_THREAD, "1"), "HOME": home, "TMPDIR": "/tmp" if self.name else
                f"{home}/tmp", "PYTHONPATH": kit, "PYTHONUSERBASE": site.getuserbase(),
                "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "agg",
                "CUDA_VISIBLE_DEVICES": "", "RETHINKLAB_SCALE": "cached"}


def find_isolation(project: Project, hidden: Sequence[Path] = ()) -> Isolation:
    """The first of PROGRAMS that is installed and works here, else plain processes."""
    why = []
    for name, program in PROGRAMS.items():
        if shutil.which(program) is None:
            why.append(f"{name} is not installed")
            continue
        found = Isolation(name, project, tuple(hidden))
        failed = _failure(found)
        if not failed:
            return found
        why.append(f"{name} does not work ({failed})")
    return Isolation("", project, tuple(hidden), f"{', '.join(why)}, {TRUST}")


def _failure(isolation: Isolation) -> str:
    """Why the kit cannot be used so; "" where it can."""
    with tempfile.TemporaryFile() as errors, isolation.start(PROBE, errors) as process:
        try:
            if process.wait(SECONDS) == 0:
                return ""
        except subprocess.TimeoutExpired:
            return f"no answer in {SECONDS} seconds"
        errors.seek(0)
        told = errors.read()[-2000:].decode(errors="replace").strip().splitlines()
        return told[-1][:200] if told else f"exit code {process.returncode}"


def _pythons() -> list[Path]:
    """The folders of this interpreter and of its packages, none within another."""
    places = {Path(sys.prefix), Path(sys.base_prefix), *(
        Path(place) for place in sys.path if Path(place).name in ("site-packages",
                                                                  "dist-packages"))}
    kept: list[Path] = []
    for place in sorted(places | {place.resolve() for place in places}):
        if not any(place.is_relative_to(other) for other in kept):
            kept.append(place)
    return kept
