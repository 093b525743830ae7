"""An engine that ends stages as told, and a store in memory, for tests of the loop alone."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from rethinklab.experiments.trial import Stage


class MemoryStore:
    """Remembers which stages are stored."""

    root = "memory"

    def __init__(self):
        self.stored, self.held = set(), set()

    def has(self, stage):
        return stage.address in self.stored

    def is_held(self, address):
        return address in self.held

    def folder(self, stage):
        return Path("nowhere") / stage.address


class Script:
    """An executor that ends stages as told, in an order drawn by hypothesis."""

    def __init__(self, store, slots, fates, draw=lambda running: running[0]):
        self.store, self.slots, self.fates, self.draw = store, slots, fates, draw
        self.running, self.given, self.seconds = [], [], []
        self.cancelled, self.closed, self.remark = [], 0, ""

    def submit(self, stages, seconds):
        self.running += stages
        self.given += stages
        self.seconds += [seconds] * len(stages)
        assert len(self.running) <= self.slots
        for stage in stages:
            assert all(self.store.has(need) for need in stage.needs), "a need was not stored"

    def poll(self, timeout):
        assert self.running
        stage = self.draw(self.running)
        self.running.remove(stage)
        fates = self.fates.get(stage.address, [])
        fate = fates.pop(0) if fates else None
        if fate is None:
            self.store.stored.add(stage.address)
        return [(stage, fate)]

    def cancel(self):
        self.cancelled = list(self.running)
        self.running.clear()

    def close(self):
        self.closed += 1


@st.composite
def graphs(draw):
    """Stages, each of which needs some of those before it."""
    stages = []
    for number in range(draw(st.integers(1, 12))):
        needs = draw(st.lists(st.sampled_from(stages), max_size=3, unique_by=id)) if stages else []
        stages.append(Stage("large", {"seed": number}, {}, tuple(needs)))
    return draw(st.permutations(stages))


def independent(count):
    return [Stage("large", {"seed": number}, {}) for number in range(count)]
