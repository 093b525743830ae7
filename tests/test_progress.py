"""How far a study is: from the store alone, while it runs, in words, in a terminal, in a table."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import start
from small_studies import run, small_study, write_task

import rethinklab as rl
from rethinklab.errors import ConfigError, OutOfTime, StoreError
from rethinklab.experiments import progress
from rethinklab.experiments.progress import (
    Display,
    Entry,
    longest_first,
    remember,
    stage_work,
    standing,
    status,
)

REGIMES = ["pruned", "finetune", "finetune:1", "weight-rewind", "lr-rewind:0.5", "restart",
           "scratch-e", "scratch-b", "scratch-b-full", "sx-a"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_task(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def many(images, tmp_path_factory):
    """A study of many regimes, run, with its ratio of FLOPs and its stages."""
    study = small_study(images, regimes=REGIMES, recipe=rl.Recipe(epochs=4, lr=0.02, batch_size=16))
    results = run(study, tmp_path_factory.mktemp("store") / "runs")
    data = study.load()
    stages = {s.address: s for t in study.trials(data) for s in t.stages}
    return study, results, study.rehearse(data), list(stages.values())


def test_the_work_of_a_stage_is_what_its_training_computes(many):
    """Epochs and FLOPs as they were in the end, against what was foreseen."""
    _, results, ratio, stages = many
    rows = {row["address"]: row for row in results.store.scan()}
    for stage in stages:
        row = rows[stage.address]
        large = next(rows[s.address] for s in (*stage.ancestors, stage) if s.kind == "large")
        spent = row["epochs"] * row["flops"] / large["flops"] if stage.kind != "plan" else 0
        assert stage_work(stage, ratio) == pytest.approx(spent, rel=1e-6), stage.label


def test_the_work_of_a_ticket_begins_where_its_weights_are_from(images):
    study = small_study(images, method="lottery", regimes=["ticket"],
                        recipe=rl.Recipe(epochs=4, lr=0.02, batch_size=16),
                        method_options={"rewind": 1})
    stage = study.trials(study.load())[1].stages[-1]
    assert stage_work(stage, 1.0) == 3


def test_longest_work_first_after_plans_and_large_networks(many):
    _, _, ratio, stages = many
    ordered = longest_first(stages[::-1], ratio)
    assert sorted(s.address for s in ordered) == sorted(s.address for s in stages)
    kinds = [s.kind for s in ordered]
    assert kinds == sorted(kinds, key=["plan", "large", "regime"].index)
    work = [stage_work(s, ratio) for s in ordered if s.kind == "regime"]
    assert work == sorted(work, reverse=True)
    assert [s.spec["seed"] for s in ordered if s.kind == "large"][:2] == [0, 1]


def state(epoch, first=0, end=10, left=60.0, **more):
    return {"epoch": epoch, "epochs": end, "first": first, "end": end, "test_accuracy": 0.5,
            "seconds_left": left, "host": "node7", "device": "cuda:1", "process": 42, **more}


@given(st.lists(st.tuples(st.floats(0, 50), st.sampled_from(["stored", "running", "stopped", "new",
                                                            "waiting"]),
                          st.integers(0, 5), st.integers(1, 9), st.floats(0, 1),
                          st.floats(0.1, 1e4)), max_size=12))
def test_share_and_time_left_are_sums_over_the_stages(rows):
    entries, stored, states, stopped = {}, set(), {}, {}
    done = total = rate = 0.0
    longest = 0.0
    for number, (work, fate, first, length, part, left) in enumerate(rows):
        address = str(number)
        entries[address] = Entry(f"stage {number}", work)
        total += work
        content = state(first + part * length, first, first + length, left)
        if fate == "stored":
            stored.add(address)
            done += work
        elif fate == "running":
            states[address] = content
            done += work * part
            rate += work * (1 - part) / left
            longest = max(longest, left)
        elif fate == "stopped":
            stopped[address] = content
            done += work * part
        elif fate == "new":
            states[address] = None
    found = standing("x", entries, stored, states, stopped)
    assert (found.total, found.stored, found.stopped) == (len(rows), len(stored), len(stopped))
    assert len(found.running) == len(states)
    if total:
        assert found.share == pytest.approx(done / total)
    if rate > 1e-9:
        assert found.seconds_left == pytest.approx(max((total - done) / rate, longest), rel=1e-3,
                                                   abs=1e-3)
    given_rate = standing("x", entries, stored, {}, rate=2.0)
    stored_work = sum(entries[a].work for a in stored)
    assert given_rate.seconds_left == pytest.approx((total - stored_work) / 2, abs=1e-6)


def test_time_left_is_not_known_before_anything_is_measured():
    entries = {"a": Entry("unpruned seed 0", 10.0)}
    assert standing("x", entries, set(), {"a": None}).seconds_left is None
    assert standing("x", entries, set(), {"a": state(0, left=None)}).seconds_left is None
    assert standing("x", entries, set(), {}, rate=0.0).seconds_left is None


def test_what_runs_where_and_how_long_in_words():
    entries = {"a": Entry("unpruned seed 0", 10.0), "b": Entry("scratch-b <b> seed 0", 20.0),
               "c": Entry("plan seed 0", 0.0), "d": Entry("finetune seed 0", 10.0)}
    found = standing("l1-x", entries, {"a"}, {"b": state(5.0), "c": state(1, age=300.0)})
    lines = str(found).splitlines()
    assert lines[0] == ("l1-x: 1 of 4 stages stored, 2 running, 1 waiting; 50% of the training "
                        "done, about 2 min to go")
    assert re.split(r"\s{2,}", lines[1].strip()) == [
        "scratch-b <b> seed 0", "epoch 5.0/10", "test 50.00%", "60 s left",
        "node7, cuda:1, process 42"]
    assert "no sign of it for 5 min" in lines[2]
    page = found._repr_html_()
    assert "<td>scratch-b &lt;b&gt; seed 0</td><td>epoch 5.0/10</td>" in page
    assert page.count("<tr>") == 2


def test_a_study_that_is_done_is_said_to_be(many):
    study, results, _, stages = many
    store = results.store
    (found,) = status(store, study.name[:10]).studies
    assert found.is_done
    assert str(found) == f"{study.name}: all {len(stages)} stages are stored"
    assert str(status(store)) == f"all studies in {store.root} are done."
    with pytest.raises(ConfigError, match="unknown study"):
        status(store, "nothing")


def test_an_empty_store_is_said_to_be(tmp_path):
    assert "no study" in str(status(rl.Store(tmp_path)))


RUNNER = """
import rethinklab as rl
study = rl.Study.from_dict({study!r})
rl.run(study, {store!r}, workers=0, progress=False, device="cpu")
"""


def test_a_study_of_another_process_is_seen_from_the_store_alone(images, tmp_path):
    study = small_study(images, seeds=1, regimes=["scratch-e"],
                        recipe=rl.Recipe(epochs=100_000, lr=1e-4, batch_size=16))
    store = tmp_path / "runs"
    process = start(RUNNER.format(study=study.to_dict(), store=str(store)))
    try:
        while not (files := list(store.glob("work/*/progress.json"))) or \
                json.loads(files[0].read_text())["test_accuracy"] is None:
            assert process.exitcode is None
            time.sleep(0.05)
        (found,) = status(rl.Store(store, create=False)).studies
        assert (found.total, found.stored, found.stopped) == (3, 0, 0)
        (one,) = found.running
        assert one.label == "unpruned seed 0"
        assert one.place.endswith(f"cpu, process {process.pid}")
        assert 0 < one.epoch < one.end == 100_000
        assert one.seconds_left > 0
        # Scratch-E has as many epochs, of a smaller network
        assert found.seconds_left > one.seconds_left
    finally:
        process.kill()
        process.join(30)
    (found,) = status(rl.Store(store, create=False)).studies
    assert (found.running, found.stopped) == ((), 1)
    assert found.seconds_left is None
    assert "1 stopped on the way" in str(found)


def test_a_study_remembered_without_its_work_counts_its_trials(many, tmp_path):
    study, results, _, _ = many
    store = rl.Store(tmp_path)
    addresses = {f"{row.seed}/{row.regime}": row.address for row in results.frame.itertuples()}
    store.save_study("old", {"study": study.to_dict(), "addresses": addresses})
    assert str(status(store)) == f"old: 0 of {len(addresses)} stages stored, {len(addresses)} " \
                                 "waiting; 0% of the training done"
    store.save_study("odd", {"study": study.to_dict()})
    with pytest.raises(StoreError, match=r"odd .* is damaged"):
        status(store)


class Bar:
    """Stands in for a bar that somebody watches."""

    disable = False

    def __init__(self, **options):
        self.options, self.lines, self.states = options, [], []
        self.n, self.note = 0.0, ""

    def set_postfix_str(self, note, refresh):
        self.note = note

    def refresh(self):
        self.states.append((self.n, self.note))

    def write(self, line):
        self.lines.append(line)

    def close(self):
        self.closed = True


def show(store, study, monkeypatch):
    """The states of a bar while a study runs in this process, and the lines above it."""
    bars = []
    monkeypatch.setattr(progress, "make_bar", lambda show, **options: bars.append(
        Bar(**options)) or bars[-1])
    run(study, store, progress=True)
    return bars[0]


def test_the_bar_goes_up_to_all_of_the_training(images, tmp_path, monkeypatch):
    study = small_study(images, seeds=1, regimes=["pruned", "weight-rewind", "scratch-b"],
                        recipe=rl.Recipe(epochs=4, lr=0.02, batch_size=16))
    bar = show(tmp_path / "runs", study, monkeypatch)
    shares = [share for share, _ in bar.states]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] == pytest.approx(1)
    assert [line.split("]")[1].split(" seed")[0].strip() for line in bar.lines] == [
        "unpruned", "scratch-b", "weight-rewind", "pruned"]
    assert all(re.search(r" \d+\.\d\d%  epochs: \d+, \d+ s$", line) for line in bar.lines)
    assert "to go" in bar.states[0][1]


def test_a_display_measures_only_what_was_done_since_it_began(many, tmp_path, monkeypatch):
    """A stage that goes on from a checkpoint does not make the study look faster than it is."""
    _, _, ratio, stages = many
    store = rl.Store(tmp_path)
    large = next(s for s in stages if s.kind == "large")
    store.work(large).mkdir(parents=True)

    def write(epoch):
        (store.work(large) / "progress.json").write_text(json.dumps(state(epoch, 0, 4)))

    clock = iter([0.0, *[10.0] * 9])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    display = Display("x", stages, stages, store, ratio, False)
    write(3.0)
    display.started(large)
    write(3.5)
    now = display.standing()
    work = stage_work(large, ratio)
    total = sum(stage_work(s, ratio) for s in stages)
    assert now.share == pytest.approx(work * 3.5 / 4 / total)
    rate = work * 0.5 / 4 / 10
    assert now.seconds_left == pytest.approx((total - work * 3.5 / 4) / rate)
    display.ended(large, OutOfTime("stopped"))
    assert display.failures == []
    display.close()


def test_the_end_of_a_bar_names_places_only_where_they_differ():
    entries = {"a": Entry("unpruned seed 0", 10.0), "b": Entry("unpruned seed 1", 10.0)}
    one = standing("x", entries, set(), {"a": state(5.0), "b": state(2.0)}, rate=1.0)
    assert progress.summary(one) == ("about 60 s to go; unpruned seed 0 5.0/10; "
                                     "unpruned seed 1 2.0/10")
    two = standing("x", entries, set(), {"a": state(5.0), "b": state(2.0, device="cuda:0")})
    assert "unpruned seed 0 5.0/10 on node7, cuda:1; unpruned seed 1 2.0/10 on node7, cuda:0" \
        in progress.summary(two)


NOTEBOOK = """
from dataclasses import replace
import rethinklab as rl
from rethinklab.experiments.progress import in_notebook
assert in_notebook()
study = rl.Study.from_dict({study!r})
results = rl.run(study, {store!r}, workers=0, device="cpu")
"""


@pytest.mark.slow
def test_a_notebook_shows_one_table_that_is_updated_in_place(images, tmp_path):
    import nbformat
    from nbclient import NotebookClient

    study = small_study(images, seeds=1, regimes=["finetune"])
    code = NOTEBOOK.format(study=study.to_dict(), store=str(tmp_path / "runs"))
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(book, timeout=120, kernel_name="python3").execute()
    shown = [o for o in book.cells[0].outputs if o.output_type == "display_data"]
    assert len(shown) == 1
    assert "all 3 stages are stored" in shown[0].data["text/html"]
    assert not [o for o in book.cells[0].outputs if o.output_type == "stream"]


def test_outside_a_notebook_there_is_no_table():
    assert not progress.in_notebook()
    assert remember([], 1.0) == {}
    assert replace(standing("x", {}, set(), {}), name="y").is_done
