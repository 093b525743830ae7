"""The results of a study: a DataFrame, its summary, paired comparisons in words, and whatever else
the study left."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from rethinklab.analysis.mcnemar import McNemar, mcnemar
from rethinklab.analysis.statistics import PairedComparison, compare_family, compare_paired
from rethinklab.errors import ConfigError, Missing, RethinkError, unknown_name
from rethinklab.experiments.store import Store
from rethinklab.experiments.study import Study
from rethinklab.pruners import Plan
from rethinklab.results.files import STUDY, RecordedStudy, labelled, write_study
from rethinklab.results.stored import StoredStudy
from rethinklab.results.tables import TABLES, find_table
from rethinklab.results.text import short
from rethinklab.trainers.regimes import UNPRUNED, find_regime, prunes, regime_order, regime_title
from rethinklab.values import plain

SCHEDULED = ("one-cycle", "restart", "linear", "weight-rewind")
MANY_EPOCHS = 5
LONGER = "unpruned-longer"
SUMMARY = "summary"  # the table that is there without being gathered
Source = StoredStudy | RecordedStudy


class Results:
    """One row a trial in `frame`; accuracies there are fractions, here percentage points.

    margin: of equivalence, as the study declared it. label: what tables and figures say about
    where the numbers are from: scale, data, device, seeds. settings: of the study, as
    `Study.to_dict` gives them; empty where they are not known. source: the study in a store, or as
    it was recorded; None for results that were put together by hand.
    """

    def __init__(self, frame: pd.DataFrame, margin: float, label: str, name: str = "",
                 settings: Mapping[str, Any] | None = None, source: Source | None = None) -> None:
        known = sorted(set(frame["regime"]), key=regime_order)
        frame = frame.assign(regime=pd.Categorical(frame["regime"], known, ordered=True))
        self.frame = frame.sort_values(["regime", "seed"]).reset_index(drop=True)
        self.margin, self.label, self.name = plain(margin), label, name
        self.settings, self.source = dict(settings or {}), source
        self._tables: dict[str, pd.DataFrame] = {}

    @classmethod
    def of(cls, source: Source) -> Results:
        """The results of a study that is stored or recorded."""
        return cls(source.frame, float(source.settings["margin"]), source.label, source.name,
                   source.settings, source)

    def only(self, *regimes: str) -> Results:
        """The same study as if these regimes alone had been run, as far as they were."""
        frame = self.frame[self.frame["regime"].isin(regimes)]
        return Results(frame.astype({"regime": str}), self.margin, self.label, self.name,
                       self.settings, self.source)

    @property
    def regimes(self) -> list[str]:
        """The regimes that have results, the unpruned network first."""
        return list(self.frame["regime"].cat.categories)

    @property
    def study(self) -> Study:
        """What was asked. Raises ConfigError where that is not known."""
        if not self.settings:
            raise ConfigError(f"the settings of {self.name or 'these results'} are not known: they "
                              "were put together by hand.")
        return Study.from_dict(self.settings)

    @property
    def store(self) -> Store:
        """Where the networks are. Raises Missing for results that are not in a store."""
        return self._stored("which networks were trained").store

    def plan(self, seed: int) -> Plan:
        """The plan of a seed. Raises Missing where nothing was pruned, or it was not kept."""
        return self._stored("plans").plan(seed)

    def network(self, regime: str, seed: int) -> nn.Module:
        """The trained network of a regime, in evaluation mode. Raises Missing where it is not
        finished, or was not kept."""
        return self._stored("networks").network(regime, seed)

    def history(self, regime: str, seed: int) -> pd.DataFrame:
        """The epochs of a training: epoch, train_loss, test_accuracy, ... Raises Missing."""
        return self._stored("whole histories").history(regime, seed)

    def _stored(self, what: str) -> StoredStudy:
        if isinstance(self.source, StoredStudy):
            return self.source
        if self.source is None:
            raise Missing(f"{self.name or 'these results'} came as a table, without {what}; use "
                          "rl.run, or rl.load_results and the name of a study.")
        raise Missing(f"{what.capitalize()} of {self.source.folder.name} were not kept, but for "
                      "its tables; run the study to have them (rl.run(results.study)).")

    def table(self, kind: str = SUMMARY) -> pd.DataFrame:
        """A table that figures are drawn from, such as "widths": see `results.tables.TABLES`. It is
        gathered from the networks of a store, which for some takes a while, or read as recorded;
        without a kind the summary with titles and rounded text, for reading.

        Raises Missing, with the reason, where the study gives no such table.
        """
        if kind == SUMMARY:
            return self._summary_in_words()
        gather = find_table(kind).gather
        if kind not in self._tables:
            self._tables[kind] = (self.source.table(kind) if isinstance(self.source, RecordedStudy)
                                  else gather(self._stored(f"a table {kind}")))
        found = self._tables[kind]
        return labelled(found.copy(), self.label, found.attrs["note"])

    def origin(self) -> list[str]:
        """What the numbers rest on: addresses in the store, or files and their SHA-256."""
        return self.source.origin() if self.source else []

    def accuracies(self, regime: str) -> pd.Series:
        """Test accuracy in percent by seed. Raises ConfigError for a regime without results."""
        if regime not in self.regimes:
            raise unknown_name("regime with results", regime, self.regimes)
        rows = self.frame[self.frame["regime"] == regime]
        return rows.set_index("seed")["test_accuracy"] * 100

    def summary(self) -> pd.DataFrame:
        """A row per regime: n, mean and standard deviation of the test accuracy in percent (of
        the last epoch), and the mean of parameters, MACs, epochs and minutes of training."""
        groups = self.frame.groupby("regime", observed=True)
        table = pd.DataFrame({
            "n": groups["seed"].nunique(),
            "mean": groups["test_accuracy"].mean() * 100,
            "sd": groups["test_accuracy"].std() * 100,
            "params": groups["params"].mean(),
            "macs": groups["macs"].mean(),
            "epochs": groups["epochs"].mean(),
            "minutes": groups["seconds"].mean() / 60,
        })
        table.index = pd.Index([str(regime) for regime in table.index], name="regime")
        return table

    def compare(self, a: str, b: str, margin: float | None = None,
                claim: str = "difference") -> PairedComparison:
        """Regime `a` minus regime `b`, paired by seed; print it for the verdict in words.

        claim: "difference", or "non-inferiority" where the question, asked before the results
        were seen, is whether `a` is not worse than `b` by the margin.
        """
        return self._family([(a, b)], margin, claim)[0]

    def against(self, other: Results, regime: str, other_regime: str | None = None,
                margin: float | None = None) -> PairedComparison:
        """A regime here minus one of another study, paired by seed: one method against another, or
        against its control. Raises ConfigError where they have no seed in common."""
        there = other_regime or regime
        for column in ("data", "test_images"):
            here, beyond = (sorted(set(r.frame[column])) for r in (self, other))
            if here != beyond:
                raise ConfigError(f"{self.name} and {other.name} differ in {column} ({here} and "
                                  f"{beyond}), so their accuracies cannot be paired.")
        first, second = paired(self.accuracies(regime), other.accuracies(there), regime, there)
        called = [self._method, other._method]
        if called[0] == called[1]:
            called = [self.name, other.name]
        names = (f"{regime_title(regime)} ({called[0]})", f"{regime_title(there)} ({called[1]})")
        return compare_paired(first, second, margin=self.margin if margin is None else margin,
                              names=names)

    def verdicts(self) -> list[PairedComparison]:
        """The study's question: each regime with new weights against each that trains what the
        large network left, or against the network as pruned where there is none. They are one
        family, and what is claimed of each is adjusted for their number."""
        pruned = [regime for regime in self.regimes if prunes(regime)]
        new = [regime for regime in pruned if find_regime(regime).start == "new"]
        inheriting = [regime for regime in pruned if regime not in new]
        trained = [regime for regime in inheriting if regime != "pruned"]
        return self._family([(a, b) for a in new for b in trained or inheriting])

    def _family(self, pairs: Sequence[tuple[str, str]], margin: float | None = None,
                claim: str = "difference") -> list[PairedComparison]:
        family = []
        for a, b in pairs:
            values = paired(self.accuracies(a), self.accuracies(b), a, b)
            family.append((regime_title(a), regime_title(b), *values))
        return compare_family(family, margin=self.margin if margin is None else margin,
                              claim=claim) if family else []

    def mcnemar(self, a: str, b: str) -> list[McNemar]:
        """Regime `a` against regime `b` image by image, one comparison a seed, from which test
        images each network got right. Raises Missing where that is not stored."""
        stored, found = self._stored("which images were right"), []
        seeds = self.accuracies(a).index.intersection(self.accuracies(b).index)
        for seed in seeds:
            right = [stored.correct(regime, seed) for regime in (a, b)]
            names = (f"{regime_title(a)}, seed {seed}", f"{regime_title(b)}, seed {seed}")
            found.append(mcnemar(*right, names=names))
        return found

    def ledger(self) -> pd.DataFrame:
        """What a trial of each regime cost in all, everything that it rests on included, what it
        shares with others in full: a row per
        regime with the means of epochs, training images, multiply-adds of forward and backward
        passes, passes over calibration images, and seconds."""
        columns = [c for c in self.frame if c.startswith("spent_")]
        if not columns:
            raise Missing("these results were put together by hand, without a ledger; use rl.run.")
        table = self.frame.groupby("regime", observed=True)[columns].mean()
        table.index = pd.Index([str(regime) for regime in table.index], name="regime")
        return table.rename(columns=lambda name: name.removeprefix("spent_"))

    @property
    def _method(self) -> str:
        return str(self.settings.get("method", self.name))

    def longer_gain(self) -> float | None:
        """How many points the unpruned network gains where it is trained for twice as long; None
        where that was not run. Above the margin it has not converged."""
        means = self.summary()["mean"]
        both = {UNPRUNED, LONGER} <= set(means.index)
        return float(means[LONGER] - means[UNPRUNED]) if both else None

    def notes(self) -> list[str]:
        """What a reader must know before believing the verdicts."""
        gain = self.longer_gain()
        return self.cautions() + ([] if gain is None else [
            f"trained for twice as long, the unpruned network gains {gain:+.2f} points, "
            + (f"more than the margin of {self.margin:g}: it has not converged, "
               "which favours whatever trains for longer." if gain > self.margin else
               f"within the margin of {self.margin:g}: it has converged.")])

    def cautions(self) -> list[str]:
        """The notes on what is wrong with the recipes."""
        summary, found = self.summary(), []
        if {"scratch-e", "scratch-b"} <= set(summary.index) and (
                summary.loc["scratch-e", "epochs"] == summary.loc["scratch-b", "epochs"]):
            found.append("Scratch-B has as many epochs as Scratch-E here, because it is cut down "
                         "to whole epochs: too few to tell the two apart. Train for more.")
        found += [f"{regime_title(str(regime))} has {epochs:g} epochs here, too few for its "
                  "schedule to be what its name says. Train for more."
                  for regime, epochs in summary["epochs"].items() if epochs < MANY_EPOCHS
                  and str(regime).partition(":")[0] in SCHEDULED]
        if "classes" in self.frame and UNPRUNED in summary.index:
            chance = 100 / float(self.frame["classes"].iloc[0])
            if summary.loc[UNPRUNED, "mean"] < 1.5 * chance:
                found.append(f"the unpruned network is at {summary.loc[UNPRUNED, 'mean']:.1f} %, "
                             f"where guessing gives {chance:.1f} %: it has hardly learnt anything. "
                             "More epochs or another learning rate come first.")
        return found

    def _summary_in_words(self) -> pd.DataFrame:
        summary = self.summary()
        return pd.DataFrame({
            "regime": [regime_title(r) for r in summary.index],
            "n": summary["n"].to_list(),
            "accuracy": [f"{m:.2f}" for m in summary["mean"]],
            "sd": ["-" if pd.isna(s) else f"{s:.2f}" for s in summary["sd"]],
            "params": [short(p) for p in summary["params"]],
            "MACs": [short(m) for m in summary["macs"]],
            "epochs": [f"{e:g}" for e in summary["epochs"].round(1)],
        })

    def __str__(self) -> str:
        lines = [self.table().to_string(index=False), "", self.label]
        lines += [f"\n{verdict}" for verdict in self.verdicts()]
        return "\n".join(lines + [f"\nNote: {note}" for note in self.notes()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        words = "".join(f"<p>{verdict}</p>" for verdict in self.verdicts())
        words += "".join(f"<p>Note: {note}</p>" for note in self.notes())
        return f"{self.table().to_html(index=False, border=0)}<p><em>{self.label}</em></p>{words}"

    def to_frame(self) -> pd.DataFrame:
        """The frame with study, margin and label repeated in columns: all there is to tell."""
        return self.frame.assign(regime=self.frame["regime"].astype(str), study=self.name,
                                 margin=self.margin, label=self.label)

    def save(self, folder: str | Path, tables: Sequence[str] | None = None
             ) -> tuple[list[Path], list[str]]:
        """Write the study as a folder of small files, for `rl.load_results`; the paths written,
        and why tables are missing. tables: their kinds; all that the study gives by default.

        Raises RethinkError where the folder cannot be written, ConfigError where it holds trials
        that these results lack.
        """
        place = Path(folder).expanduser()
        if not self.settings:
            raise ConfigError("results that were put together by hand cannot be recorded: what was "
                              "run is not known.")
        if not re.fullmatch(r"[A-Za-z0-9.][A-Za-z0-9._-]*", place.name):
            raise ConfigError(f"name {place.name!r} must consist of letters, digits, dots, dashes "
                              "and underscores: a folder is called by it.")
        self._check_nothing_lost(place)
        found, missing = {}, []
        for kind in TABLES if tables is None else tables:
            try:
                found[kind] = self.table(kind)
            except Missing as reason:
                missing.append(f"{kind}: {reason}")
        try:
            frame = self.frame.astype({"regime": str})
            return write_study(place, self.name, self.settings, frame, found), missing
        except OSError as error:
            raise RethinkError(f"{self.name} cannot be written to {place} ({error.strerror}); "
                               "choose another place with --out.") from error

    def _check_nothing_lost(self, folder: Path) -> None:
        """A study by another name that has all trials of a recorded one may take its place: the
        name tells where a folder of images lies, the addresses of trials do not."""
        if not (folder / STUDY).is_file():
            return
        there = RecordedStudy(folder)
        if there.name != self.name and set(there.frame["address"]) - set(self.frame["address"]):
            raise ConfigError(f"{folder} holds another study, {there.name}; record {self.name} by "
                              "another name (--as), or remove that folder first.")


def paired(first: pd.Series, second: pd.Series, a: str, b: str) -> tuple[list[float], list[float]]:
    """The values of the seeds that both have. Raises ConfigError where there is none."""
    seeds = first.index.intersection(second.index)
    if len(seeds) == 0:
        raise ConfigError(f"{a} and {b} have no seed in common to compare.")
    return list(first[seeds]), list(second[seeds])
