"""How far studies are: what runs, where, how long to go; live, or from the store alone."""

from __future__ import annotations

import html
import json
import platform
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rethinklab.bars import make_bar
from rethinklab.errors import OutOfTime, RethinkError, StoreError, unknown_name
from rethinklab.experiments.store import Store
from rethinklab.experiments.time_limit import describe_duration
from rethinklab.experiments.trial import Stage
from rethinklab.trainers.recipe import Recipe
from rethinklab.trainers.regimes import find_regime

State = Mapping[str, Any]
QUIET_SECONDS = 60.0


def stage_work(stage: Stage, ratio: float) -> float:
    """How much training a stage is: its epochs, each counted as its part of the FLOPs of an epoch
    of the large network; 0 for a plan. ratio: of FLOPs, large over pruned."""
    if stage.kind == "plan":
        return 0.0
    recipe = Recipe(**stage.spec["recipe"])
    if stage.kind == "large":
        return float(stage.spec.get("until", recipe.epochs))
    regime = find_regime(stage.spec["regime"])
    budget = regime.budget(recipe, ratio)
    if budget is None:
        return 0.0
    first = regime.first_epoch(recipe)
    if regime.start == "initial":
        first = stage.spec["plan"]["options"].get("rewind", 0)
    return (budget.epochs - first) / (ratio if regime.prunes else 1.0)


def longest_first(stages: Sequence[Stage], ratio: float) -> list[Stage]:
    """Plans as soon as they can be made, then large networks, then the regimes with the longest
    work first, so that no worker is left alone with a long run at the end."""
    def urgency(stage: Stage) -> tuple[int, float, int]:
        kind = ("plan", "large", "regime").index(stage.kind)
        return kind, -stage_work(stage, ratio), stage.spec["seed"]

    return sorted(stages, key=urgency)


@dataclass(frozen=True)
class Entry:
    """A stage of a study, as a display needs it. work: as `stage_work` counts it."""

    label: str
    work: float


@dataclass(frozen=True)
class Running:
    """A stage under way. share: how much of its work is done, 0 to 1. epoch, end: where its
    training is and ends, None where it does not train or has just begun. accuracy: of the last
    epoch on the test images. seconds_left: as its own process measures. place: host, device and
    process. quiet: seconds since its last sign of life, where these are many. elsewhere: whether a
    process works on it that is none of the run's that shows this."""

    label: str
    work: float
    share: float = 0.0
    epoch: float | None = None
    end: int | None = None
    accuracy: float | None = None
    seconds_left: float | None = None
    place: str = ""
    quiet: float | None = None
    elsewhere: bool = False

    def cells(self) -> tuple[str, str, str, str, str]:
        """Stage, epochs, test accuracy, time left and place, in words."""
        epochs = "" if self.epoch is None else f"epoch {self.epoch:.1f}/{self.end}"
        accuracy = "" if self.accuracy is None else f"test {self.accuracy:.2%}"
        left = "" if self.seconds_left is None else f"{describe_duration(self.seconds_left)} left"
        if self.quiet is not None:
            left = f"no sign of it for {describe_duration(self.quiet)}"
        place = f"{self.place} (another run)".lstrip() if self.elsewhere else self.place
        return self.label, epochs, accuracy, left, place


@dataclass(frozen=True)
class Standing:
    """How far a study is. total, stored, stopped: stages in all, done, and begun with nobody at
    work on them. share: of the training that is done, 0 to 1. seconds_left: None until known."""

    name: str
    total: int
    stored: int
    stopped: int
    running: tuple[Running, ...]
    share: float
    seconds_left: float | None

    @property
    def is_done(self) -> bool:
        return self.stored == self.total

    @property
    def headline(self) -> str:
        """Counts, share and time left in one line."""
        if self.is_done:
            return f"all {self.total} stages are stored"
        waiting = self.total - self.stored - self.stopped - len(self.running)
        others = sum(one.elsewhere for one in self.running)
        counts = [(len(self.running) - others, "running"), (others, "running in other runs"),
                  (self.stopped, "stopped on the way"),
                  (waiting, "waiting")]
        parts = [f"{self.stored} of {self.total} stages stored",
                 *(f"{count} {what}" for count, what in counts if count)]
        left = "" if self.seconds_left is None else (
            f", about {describe_duration(self.seconds_left)} to go")
        return f"{', '.join(parts)}; {self.share:.0%} of the training done{left}"

    def __str__(self) -> str:
        rows = [one.cells() for one in self.running]
        wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["    " + "  ".join(f"{cell:{width}}" for cell, width in
                                   zip(row, wide, strict=True)).rstrip() for row in rows]
        return "\n".join([f"{self.name}: {self.headline}", *lines])

    def _repr_html_(self) -> str:
        rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in one.cells())
                       + "</tr>" for one in self.running)
        table = f"<table>{rows}</table>" if rows else ""
        return f"<p>{html.escape(self.name)}: {html.escape(self.headline)}</p>{table}"


@dataclass(frozen=True)
class Status:
    """How far several studies are. note: what to say where there is none to show."""

    studies: tuple[Standing, ...]
    note: str = ""

    def __str__(self) -> str:
        return "\n".join(map(str, self.studies)) or self.note

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return ("".join(study._repr_html_() for study in self.studies)
                or f"<p>{html.escape(self.note)}</p>")


def status(store: Store, study: str | None = None) -> Status:
    """How far studies are, by whatever process on whatever node, read from the store alone.

    study: its name, or how it begins; None for all that are not done. Raises ConfigError where no
    study begins so, StoreError for a damaged store.
    """
    known = store.studies()
    names = [name for name in known if study is None or name.startswith(study)]
    if study is not None and not names:
        raise unknown_name("study", study, known)
    found = [standing_in_store(store, name, known[name]) for name in names]
    if study is None:
        found = [one for one in found if not one.is_done]
    return Status(tuple(found), f"all studies in {store.root} are done." if known else
                  f"no study in {store.root} yet.")


def standing_in_store(store: Store, name: str, content: Mapping[str, Any]) -> Standing:
    """How far a study is, from what the store remembers of it. Raises StoreError where that is
    damaged."""
    try:
        entries = remembered(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"the study {name} in {store.root} is damaged ({error!r}); run it again, "
                         "which writes it anew.") from error
    places = {address: store.root / "stages" / address / "result.json" for address in entries}
    stored = {address for address, place in places.items() if place.is_file()}
    states: dict[str, State | None] = {}
    stopped: dict[str, State | None] = {}
    for address in entries.keys() - stored:
        state, held = read_state(store, address), store.is_held(address)
        if held:
            states[address] = state
        elif state is not None:
            stopped[address] = state
    return standing(name, entries, stored, states, stopped)


def remembered(content: Mapping[str, Any]) -> dict[str, Entry]:
    """The stages of a remembered study by address; of one from before their work was remembered,
    its trials, each counted alike."""
    if "stages" in content:
        return {address: Entry(str(label), float(work))
                for address, (label, work) in content["stages"].items()}
    found = {}
    for name, address in content["addresses"].items():
        seed, _, regime = name.partition("/")
        found[str(address)] = Entry(f"{regime} seed {seed}", 1.0)
    return found


def remember(stages: Sequence[Stage], ratio: float) -> dict[str, tuple[str, float]]:
    """What a store keeps of a study's stages, for `remembered`."""
    return {stage.address: (stage.label, round(stage_work(stage, ratio), 4)) for stage in stages}


def read_state(store: Store, address: str) -> State | None:
    """What a stage under way last wrote of its progress, with its age in seconds; None where there
    is nothing, or it is just being finished."""
    path = store.root / "work" / address / "progress.json"
    try:
        state = json.loads(path.read_text())
        return {**state, "age": max(0.0, time.time() - path.stat().st_mtime)}
    except (OSError, ValueError, TypeError):
        return None


def standing(name: str, entries: Mapping[str, Entry], stored: set[str],
             states: Mapping[str, State | None], stopped: Mapping[str, State | None] | None = None,
             rate: float | None = None, elsewhere: Collection[str] = ()) -> Standing:
    """How far a study is, from its stages by address.

    stored: those that are done. states: of those under way, what they last wrote; None where that
    is nothing. stopped: of those that nobody works on. rate: work a second, as measured; without
    it, what the stages under way measure together. elsewhere: those of `states` that other runs
    hold.
    """
    running = tuple(replace(describe(entries[address], state), elsewhere=address in elsewhere)
                    for address, state in states.items())
    begun = [describe(entries[address], state) for address, state in (stopped or {}).items()]
    total = sum(entry.work for entry in entries.values())
    done = sum(entries[address].work for address in stored)
    done += sum(one.share * one.work for one in (*running, *begun))
    left = total - done
    if rate is None:
        rate = sum(one.work * (1 - one.share) / one.seconds_left for one in running
                   if one.seconds_left)
    seconds = max([left / rate, *(one.seconds_left or 0.0 for one in running)]) if rate else None
    share = done / total if total else len(stored) / max(1, len(entries))
    return Standing(name, len(entries), len(stored), len(begun), running, share, seconds)


def describe(entry: Entry, state: State | None) -> Running:
    """A stage under way, from what it last wrote."""
    if state is None:
        return Running(entry.label, entry.work)
    first, end, epoch = state["first"], state["end"], state["epoch"]
    share = min(1.0, max(0.0, (epoch - first) / (end - first)))
    place = f"{state['host']}, {state['device']}, process {state['process']}"
    age = state.get("age", 0.0)
    return Running(entry.label, entry.work, share, epoch, end, state["test_accuracy"],
                   state["seconds_left"], place, age if age > QUIET_SECONDS else None)


class Display:
    """Live progress of a study that this process runs: a bar in a terminal, a table in a notebook,
    and elsewhere a line for each stage begun and done."""

    def __init__(self, name: str, stages: Sequence[Stage], missing: Sequence[Stage], store: Store,
                 ratio: float, progress: bool) -> None:
        self.name, self.store, self.shown = name, store, progress
        self.entries = {s.address: Entry(s.label, stage_work(s, ratio)) for s in stages}
        self.stored = {s.address for s in stages} - {s.address for s in missing}
        self.count, self.finished = len(missing), 0
        self.running: dict[str, float] = {}  # the share that was done when this run took it over
        self.elsewhere: set[str] = set()  # what other runs hold
        self.begun, self.done_here, self.looked = time.monotonic(), 0.0, 0.0
        self.failures: list[str] = []
        self.causes: list[RethinkError] = []
        self.table = NotebookTable() if progress and in_notebook() else None
        self.bar = make_bar(progress and self.table is None, desc=name, total=1.0,
                            bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed}{postfix}")

    def started(self, stage: Stage) -> None:
        state = read_state(self.store, stage.address)
        self.elsewhere.discard(stage.address)
        self.running[stage.address] = describe(self.entries[stage.address], state).share
        if self.bar.disable and stage.kind != "plan":  # nobody sees the bar: say so in a line
            self.say(f"{'':{2 * len(str(self.count)) + 3}} {stage.label} started")

    def passed(self, stage: Stage, address: str) -> None:
        self.running.pop(stage.address, None)
        if address != stage.address:
            return  # it waits for a training that it shares, in this run or another
        if stage.address not in self.elsewhere and self.bar.disable and stage.kind != "plan":
            self.say(f"{'':{2 * len(str(self.count)) + 3}} {stage.label} is held by another run")
        self.elsewhere.add(stage.address)

    def ended(self, stage: Stage, error: RethinkError | None) -> None:
        here = stage.address in self.running
        before = self.running.pop(stage.address, 0.0)
        self.elsewhere.discard(stage.address)
        if isinstance(error, OutOfTime):
            self.say(f"{stage.label}: stopped, with a checkpoint to go on from")
            return
        self.finished += 1
        if error is not None:
            self.failures.append(f"{stage.label}: {error}")
            self.causes.append(error)
            self.say(f"{stage.label}: failed")
            return
        self.stored.add(stage.address)
        if here:
            self.done_here += (1 - before) * self.entries[stage.address].work
        if stage.kind != "plan":
            result = self.store.result(stage)
            self.say(f"[{self.finished:{len(str(self.count))}}/{self.count}] "
                      f"{stage.label:24} {result['test_accuracy']:7.2%}  "
                      f"epochs: {result['epochs']}, {result['seconds']:.0f} s"
                      + ("" if here else ", by another run"))

    def tick(self) -> None:
        """Show how far the study is, less often where many stages run."""
        if not self.shown or (self.bar.disable and self.table is None):
            return
        now = time.monotonic()
        if now - self.looked >= 0.02 * len(self.running):
            self.looked = now
            self._show(self.standing())

    def standing(self) -> Standing:
        """How far the study is now."""
        states = {address: read_state(self.store, address) for address in self.running}
        done = self.done_here
        for address, state in states.items():
            entry = self.entries[address]
            done += max(0.0, describe(entry, state).share - self.running[address]) * entry.work
        rate = done / max(1e-9, time.monotonic() - self.begun)
        states |= {address: read_state(self.store, address) for address in self.elsewhere}
        return standing(self.name, self.entries, self.stored, states, rate=rate,
                        elsewhere=self.elsewhere)

    def close(self) -> None:
        if self.table is not None:
            self._show(self.standing())
        self.bar.close()

    def _show(self, now: Standing) -> None:
        if self.table is not None:
            self.table.show(now)
            return
        self.bar.n = min(now.share, 1.0)
        self.bar.set_postfix_str(summary(now), refresh=False)
        self.bar.refresh()

    def say(self, line: str) -> None:
        """A line above the bar, where there is something to say."""
        if line and self.shown and self.table is None:
            self.bar.write(line)


def summary(now: Standing) -> str:
    """What runs, where, and how long it has to go, for the end of a progress bar. Where: only what
    tells the stages apart, and nothing where all run in one place."""
    places = {one.place.rpartition(", process")[0] for one in now.running
              if one.place and not one.elsewhere}
    here = platform.node()
    parts = [] if now.seconds_left is None else [
        f"about {describe_duration(now.seconds_left)} to go"]
    for one in now.running:
        if one.epoch is not None and not one.elsewhere:
            where = one.place.rpartition(", process")[0].removeprefix(f"{here}, ")
            parts.append(f"{one.label} {one.epoch:.1f}/{one.end}"
                         + (f" on {where}" if len(places) > 1 else ""))
    others = sum(one.elsewhere for one in now.running)
    return "; ".join([*parts, f"{others} in other runs"] if others else parts)


class NotebookTable:
    """One table under a notebook's cell that is updated in place."""

    def __init__(self) -> None:
        self.handle: Any = None

    def show(self, now: Standing) -> None:
        from IPython.display import HTML, display

        content = HTML(now._repr_html_())
        if self.handle is None:
            self.handle = display(content, display_id=True)
        else:
            self.handle.update(content)


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    shell = sys.modules.get("IPython")
    if shell is None or "ipykernel" not in sys.modules:
        return False
    found = shell.get_ipython()
    return found is not None and found.has_trait("kernel")
