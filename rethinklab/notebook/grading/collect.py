"""Finding submissions in a folder, and reading them into memory before any of them is run."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from rethinklab.errors import ConfigError

LARGEST = 50 * 2**20  # bytes of a notebook
IGNORED = ("__MACOSX", "Thumbs.db", "desktop.ini", "__pycache__")
SUFFIX = ".ipynb"


@dataclass(frozen=True)
class Submission:
    """What a student handed in. notebook: the lesson's stem, or a file's name where it is none.
    content: the file, or None where it cannot be marked, for the reason in `remark`."""

    student: str
    notebook: str
    path: Path
    content: bytes | None = None
    remark: str = ""


def collect(folder: str | Path, lessons: Collection[str],
            skip: Collection[Path] = ()) -> list[Submission]:
    """All submissions in a folder, by student and notebook: FOLDER/STUDENT/NN_topic.ipynb,
    FOLDER/STUDENT_NN_topic.ipynb and FOLDER/NN_topic_STUDENT.ipynb. Anything else that is not
    hidden becomes a submission with a remark.

    lessons: the stems there are. skip: files that are none, such as the table of marks.
    Raises ConfigError where the folder cannot be listed.
    """
    folder = Path(folder)
    skipped = {path.resolve() for path in skip}
    try:
        entries = [path for path in _entries(folder) if path.resolve() not in skipped]
    except OSError as error:
        raise ConfigError(f"the folder {folder} cannot be listed ({error.strerror}); name the "
                          "one that holds the submissions.") from error
    found = [one for path in entries for one in _submissions(path, lessons)]
    found.sort(key=lambda one: (one.student, one.notebook, str(one.path)))
    return _mark_doubles(found)


def _submissions(path: Path, lessons: Collection[str]) -> Iterator[Submission]:
    if not path.is_dir() or path.is_symlink():
        yield _flat(path, lessons)
        return
    try:
        inside = _entries(path)
    except OSError as error:
        yield Submission(path.name, "", path, remark=f"cannot be listed ({error.strerror})")
        return
    if not inside:
        yield Submission(path.name, "", path, remark="an empty folder")
    for file in inside:
        if file.is_dir() and not file.is_symlink():
            yield Submission(path.name, file.name, file, remark="a folder, where a notebook is "
                             "expected")
        elif file.suffix == SUFFIX and file.stem not in lessons:
            yield Submission(path.name, file.name, file, remark=_unknown(file.stem, lessons))
        else:
            yield _read(path.name, file.stem, file)


def _flat(path: Path, lessons: Collection[str]) -> Submission:
    """A file that has both the lesson and the student in its name."""
    stem = path.stem
    for lesson in sorted(lessons, key=len, reverse=True):
        for student in (stem.removesuffix(f"_{lesson}"), stem.removeprefix(f"{lesson}_")):
            if student and student != stem:
                return _read(student, lesson, path)
    remark = ("the name has no student in it" if stem in lessons
              else "the name is not STUDENT_NN_topic.ipynb or NN_topic_STUDENT.ipynb of a lesson")
    return Submission("", path.name, path,
                      remark=remark if path.suffix == SUFFIX else "not a notebook")


def _read(student: str, lesson: str, path: Path) -> Submission:
    one = Submission(student, lesson, path)
    if path.suffix != SUFFIX:
        return replace(one, notebook=path.name, remark="not a notebook")
    try:
        about = path.lstat()
        if not stat.S_ISREG(about.st_mode):
            return replace(one, remark="a link or a device, not a file")
        if about.st_size > LARGEST:
            return replace(one, remark=f"too large ({about.st_size / 2**20:.0f} MiB); clear the "
                           "outputs")
        return replace(one, content=path.read_bytes())
    except OSError as error:
        return replace(one, remark=f"cannot be read ({error.strerror})")


def _mark_doubles(found: Sequence[Submission]) -> list[Submission]:
    """A lesson that was handed in twice is not marked: which one counts is the teacher's to say."""
    count: dict[tuple[str, str], int] = {}
    for one in found:
        key = (one.student, one.notebook)
        count[key] = count.get(key, 0) + (one.content is not None)
    return [replace(one, content=None, remark=f"handed in twice ({one.path.name}); keep one")
            if one.content is not None and count[one.student, one.notebook] > 1 else one
            for one in found]


def _entries(folder: Path) -> list[Path]:
    return sorted(folder / name for name in os.listdir(folder)
                  if not name.startswith((".", "~")) and name not in IGNORED)


def _unknown(stem: str, lessons: Collection[str]) -> str:
    close = get_close_matches(stem, lessons, n=1, cutoff=0.5)
    return "not the name of a lesson" + (f"; {close[0]}{SUFFIX}?" if close else "")
