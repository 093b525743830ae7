"""What a submission can reach: nothing beyond its own row in a container, and all of it told where
there is none. The package that submissions attack here is a copy."""

import json
import os
import socket
import subprocess
import sys
import textwrap

import pytest
from processes import lives, wait_until
from tiny_lesson import RIGHT, STEM, handed_in, snapshot, tiny_project, write_notebook

from rethinklab.notebook.grading import isolation
from rethinklab.notebook.grading.answers import read_answers
from rethinklab.notebook.grading.grade import Marking
from rethinklab.notebook.grading.isolation import find_isolation
from rethinklab.notebook.grading.lesson import read_assignment
from rethinklab.notebook.grading.marks import Book
from rethinklab.notebook.grading.run import run

SECONDS = 20
TOOLS = """
import ctypes, gc, os, shutil, socket, subprocess, sys, time
from pathlib import Path
done = []
def attack(what, function, *arguments, **more):
    try:
        function(*arguments, **more)
    except OSError:
        return
    done.append(what)
c = ctypes.CDLL(None)  # as dlsym finds it, which no hook of Python's sees
"""
ATTACKS = {
    "reading and writing files of others": """
for path in files:
    attack(path, open, path)
    attack(path, open, path, "w")
    attack(path, os.remove, path)
    if c.open(path.encode(), os.O_WRONLY) >= 0:
        done.append(f"{path} from C")
    subprocess.run(["rm", "-rf", os.path.dirname(path)])
    c.system(b"rm -rf " + path.encode())
shutil.rmtree("/kit", ignore_errors=True)
for place in ("/", "/kit", "/kit/rethinklab", "/usr", "/dev", "/proc", sys.prefix):
    attack(place, Path(place, "mine").write_text, "x")
""",
    "finding the solutions": """
for folder, _, names in os.walk("/kit"):
    done += [name for name in names if name.endswith('.ipynb') or name != "source.py" and
             "### BEGIN SOLUTION" in Path(folder, name).read_text(errors="replace")]
""",
    "reaching the pipes, the memory and the verdict of the marker": """
for place in ("fd/0", "fd/1", "fd/3", "fd/4", "mem", "environ"):
    attack(place, open, f"/proc/1/{place}", "rb")
frames, frame = [], sys._getframe()
while frame:
    frames.append(frame)
    frame = frame.f_back
done += [name for one in frames for name in one.f_locals if name in ("nonce", "word")]
done += [one for one in gc.get_objects() if isinstance(one, dict) and "nonce" in one]
""",
    "the network": "attack('network', socket.create_connection, ('127.0.0.1', port), 2)",
    "killing and stopping": """
done += [name for name in os.listdir("/proc") if name.isdigit() and int(name) not in (
    1, os.getpid())]
for process in (1, os.getppid(), marker, -marker):
    for number in (9, 19):
        c.kill(process, number)
""",
    "filling shared memory and the disk": """
def fill(path):
    with open(path, "wb") as file:
        for _ in range(80):
            file.write(bytes(2**20))
attack("/dev/shm", fill, "/dev/shm/big")
for number in range(3):
    attack(number, fill, f"/tmp/{number}")
attack(3, fill, "/tmp/3")
done = [] if done == [0, 1, 2] else done
""",
}
ENDED = {
    "processes": ("for _ in range(200):\n    if os.fork() == 0:\n        time.sleep(600)\n"
                  "time.sleep(60)", "64 processes"),
    "memory of several processes": (
        "for _ in range(6):\n    if os.fork() == 0:\n        hoard = bytearray(100 * 2**20)\n"
        "        time.sleep(600)\ntime.sleep(60)", "GiB of memory"),
    "memory that is shared": (
        "import mmap\nhoard = mmap.mmap(-1, 2**29)\nfor i in range(0, 2**29, 4096):\n"
        "    hoard[i] = 1\ntime.sleep(60)", "GiB of memory"),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return tiny_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def marked(project, tmp_path_factory):
    """Marks RIGHT but for the first answer, isolated; its mark, and asserts on all the rest."""
    folder = tmp_path_factory.mktemp("class") / "submissions"
    isolated = find_isolation(project, (folder, project.root / "notebooks"))
    if not isolated.name:
        pytest.skip(f"isolated marking was not tried: {isolated.remark}")
    lesson = project.sources / f"{STEM}.py"
    assignment = read_assignment(lesson)
    write_notebook(handed_in(lesson, **RIGHT), folder / "anna" / f"{STEM}.ipynb")
    marks = folder.parent / "marks.csv"
    marks.write_text("student,points\nanna,6\n")

    def mark(source):
        before = snapshot(folder.parent, project.root)
        answers = read_answers(json.dumps(handed_in(lesson, **{**RIGHT, "sum_up": source}))
                               .encode(), assignment)
        outcome = run(assignment, answers, isolated, SECONDS)
        assert snapshot(folder.parent, project.root) == before
        assert outcome.judged
        assert [one.verdict for one in outcome.marks[1:]] == ["right", "right"]
        return outcome.marks[0]

    mark.files = [str(folder / "anna" / f"{STEM}.ipynb"), str(marks), str(lesson),
                  str(project.package / "notebook" / "checks" / "tiny.py")]
    return mark


@pytest.mark.parametrize("attacks", ATTACKS.values(), ids=ATTACKS)
def test_no_attack_reaches_beyond_the_own_row(marked, attacks):
    with socket.create_server(("127.0.0.1", 0)) as server:
        head = f"files, port, marker = {marked.files}, {server.getsockname()[1]}, {os.getpid()}\n"
        mark = marked(TOOLS + head + attacks + "\nassert not done, done\ntotal = 6")
    assert (mark.verdict, mark.points) == ("right", 2), mark.diagnosis


@pytest.mark.parametrize(("source", "why"), ENDED.values(), ids=ENDED)
def test_what_takes_too_much_is_ended_with_all_that_it_started(marked, source, why):
    mark = marked(TOOLS + source + "\ntotal = 6")
    assert mark.verdict == "crashed"
    assert why in mark.diagnosis


def test_a_submission_ends_with_its_marker(project):
    isolated = find_isolation(project)
    if not isolated.name:
        pytest.skip(isolated.remark)
    marker = textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        from rethinklab.notebook.grading.isolation import Isolation, Project
        project = Project(Path({str(project.root)!r}), Path({str(project.package)!r}))
        with Isolation({isolated.name!r}, project).start("import time; time.sleep(600)") as process:
            print(process.pid, flush=True)
            time.sleep(600)
        """)
    with subprocess.Popen([sys.executable, "-c", marker], stdout=subprocess.PIPE) as process:
        pid = int(process.stdout.readline())
        assert lives(pid)
        process.kill()
    wait_until(lambda: not lives(pid))


def test_without_a_container_one_warning_says_so(project, tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(isolation, "PROGRAMS", {"bubblewrap": "no-such-program",
                                                "docker": "false"})
    lesson = project.sources / f"{STEM}.py"
    for student in ("anna", "ben"):
        write_notebook(handed_in(lesson, **RIGHT), tmp_path / "class" / student / f"{STEM}.ipynb")
    for name, trust, warned in (("one", False, 1), ("two", True, 1)):
        book = Book(tmp_path / f"{name}.csv")
        Marking(tmp_path / "class", project, book).grade(SECONDS, trust=trust)
        assert [row.points for row in book.rows] == [6, 6]
        assert len(recwarn) == warned
    told = str(recwarn[0].message)
    assert told.startswith("bubblewrap is not installed, docker does not work (exit code 1), so")
    assert "--trust-submissions" in told


STAND_IN = """#!{python}
import os, sys
words = sys.argv[1:]
if words[0] == "kill":
    sys.exit()
at = words.index("rethinklab")
options, command = words[:at], words[at + 1:]
given = [(name, value) for name, value in zip(options, options[1:])]
open({log!r}, "a").write(" ".join(words) + "\\n")
inside = {{value.split(":")[1]: value.split(":")[0] for name, value in given if name == "--volume"}}
os.environ.update(value.split("=", 1) for name, value in given if name == "--env")
os.environ["PYTHONPATH"] = os.path.dirname(inside["/kit/rethinklab"])
os.execv({python!r}, [{python!r}, *command[1:]])
"""


@pytest.mark.parametrize("program", ["podman", "docker"])
def test_a_program_for_containers_is_asked_for_all_that_isolates(program, project, tmp_path,
                                                                 monkeypatch):
    """A stand-in takes podman's and docker's command line, and executes what is in it."""
    log = tmp_path / "log"
    (tmp_path / program).write_text(STAND_IN.format(python=sys.executable, log=str(log)))
    (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(isolation, "PROGRAMS", {program: program})
    found = find_isolation(project)
    assert found.name == program, found.remark
    lesson = project.sources / f"{STEM}.py"
    assignment = read_assignment(lesson)
    answers = read_answers(json.dumps(handed_in(lesson, **RIGHT)).encode(), assignment)
    assert [mark.points for mark in run(assignment, answers, found, SECONDS).marks] == [2, 1, 3]
    for words in log.read_text().splitlines():
        for limit in ("--network none", "--read-only", "--cap-drop ALL", "--pids-limit 128",
                      "no-new-privileges", "--memory ", "--shm-size ", "--tmpfs /tmp:size="):
            assert limit in words
        shown = [word for word in words.split() if word.startswith(str(project.root))]
        assert shown == [f"{project.package}:/kit/rethinklab:ro",
                         f"{project.root / 'data'}:/kit/data:ro"]
