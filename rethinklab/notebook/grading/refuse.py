"""What an answer may not do: write outside its folder, start processes, signal others, use the
network, read the solutions, take all memory. A refusal is an exception with a plain message.

An audit hook cannot be taken out again, so `restrict` is for a process that executes one answer
and ends. It sees what Python does, not what libraries do in C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
FILE_BYTES = 256 * 2**20
SPARE_SECONDS = 30  # of computing after the time limit, for where the grader itself was killed

STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork",
          "os.forkpty", "pty.spawn")
SIGNALS = ("os.kill", "os.killpg", "signal.pthread_kill")
NETWORK = ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg",
           "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
CHANGES = {  # event: which of its arguments are paths, and the folder descriptor that each is under
    "os.remove": ((0, 1),), "os.rmdir": ((0, 1),), "os.mkdir": ((0, 2),),
    "os.rename": ((0, 2), (1, 3)), "os.link": ((0, 2), (1, 3)), "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),), "os.chmod": ((0, 2),), "os.chown": ((0, 3),),
    "os.utime": ((0, 3),), "os.setxattr": ((0, None),), "os.removexattr": ((0, None),),
    "os.chflags": ((0, None),), "sqlite3.connect": ((0, None),),
}
FOLLOWS = ("os.truncate", "os.chmod", "os.chown", "os.utime", "os.setxattr", "os.removexattr",
           "os.chflags", "sqlite3.connect")  # these change what a link leads to
CALLS = frozenset((  # of the C library, by way of ctypes
    "fork", "vfork", "clone", "syscall", "system", "popen", "execv", "execve", "execvp", "kill",
    "killpg", "posix_spawn", "open", "open64", "openat", "creat", "fopen", "fopen64", "unlink",
    "unlinkat", "remove", "rename", "renameat", "truncate", "ftruncate", "rmdir", "link",
    "symlink", "connect", "socket", "ptrace", "process_vm_writev"))


class Refused(PermissionError):
    """Something that an answer may not do."""


def restrict(folder: str, hidden: Sequence[str], seconds: float, memory: int) -> None:
    """From here on this process may write only in `folder`, may not read in the folders
    `hidden`, and may take `memory` more bytes."""
    _limit(seconds, memory)
    import _posixsubprocess

    vars(_posixsubprocess)["fork_exec"] = _no_process  # it does not tell the hook
    sys.addaudithook(_hook(os.path.realpath(folder), [os.path.realpath(path) for path in hidden]))


def _hook(folder: str, hidden: Sequence[str]) -> Callable[[str, tuple[Any, ...]], None]:
    realpath, split, join, isdir = (os.path.realpath, os.path.split, os.path.join,
                                      os.path.isdir)
    inside = (folder + os.sep, os.devnull + os.sep)
    starts, signals, network, calls = map(frozenset, (STARTS, SIGNALS, NETWORK, CALLS))
    changes, follows, writes = dict(CHANGES), frozenset(FOLLOWS), WRITES
    secret = tuple(path + os.sep for path in hidden)

    def place(path: Any, under: Any = None, follow: bool = False) -> str | None:
        """Where a path leads, or None for a descriptor, which was opened before."""
        if isinstance(path, int) or path is None:
            return None
        path = os.fsdecode(path)
        if isinstance(under, int) and under >= 0:
            path = join(os.readlink(f"/proc/self/fd/{under}"), path)
        if follow:
            return realpath(path)
        head, tail = split(path.rstrip(os.sep))
        return join(realpath(head), tail)

    def refuse_outside(found: str | None) -> None:
        if found is not None and not (found + os.sep).startswith(inside):
            raise Refused(f"an answer may not write, delete or rename outside its own folder: "
                          f"{found}")

    def opened(arguments: tuple[Any, ...]) -> None:
        path, mode, flags = arguments
        found = place(path, follow=True)
        if found is None:
            return
        writing = isinstance(flags, int) and flags & writes
        if writing or (mode is None and isdir(found)):  # under a folder opened, paths are short
            refuse_outside(found)
        if (found + os.sep).startswith(secret):
            raise Refused(f"an answer may not read the lessons or what others handed in: {found}")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            opened(arguments)
        elif event in changes:
            if arguments[0] == ":memory:":
                return
            for at, under in changes[event]:
                below = arguments[under] if under is not None and under < len(arguments) else None
                refuse_outside(place(arguments[at], below, event in follows))
        elif event in starts:
            raise Refused(f"an answer may not start processes ({event})")
        elif event in signals:
            raise Refused(f"an answer may not signal processes ({event})")
        elif event in network:
            raise Refused(f"an answer may not use the network ({event})")
        elif event == "ctypes.dlsym" and arguments[1] in calls:
            raise Refused(f"an answer may not call {arguments[1]} of the C library")

    return hook


def _limit(seconds: float, memory: int) -> None:
    import resource  # Windows has none

    limits = {"RLIMIT_CORE": 0, "RLIMIT_FSIZE": FILE_BYTES,
              "RLIMIT_CPU": int(seconds) + SPARE_SECONDS}
    if (held := _data_bytes()) is not None:
        limits["RLIMIT_DATA"] = held + memory
    for name, value in limits.items():
        try:
            resource.setrlimit(getattr(resource, name), (value, value))
        except (ValueError, OSError):  # a lower limit is in force, or the system has none
            continue


def _data_bytes() -> int | None:
    """What this process holds, as RLIMIT_DATA counts; None where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def _no_process(*arguments: Any) -> None:
    raise Refused("an answer may not start processes")
