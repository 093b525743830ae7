"""The results of a study: a DataFrame, its summary, and paired comparisons in words."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rethinklab.analysis.ledger import Ledger
from rethinklab.analysis.mcnemar import McNemar, mcnemar
from rethinklab.analysis.statistics import PairedComparison, compare_family, compare_paired
from rethinklab.errors import ConfigError, StoreError, unknown_name
from rethinklab.experiments.stages import load_correctness
from rethinklab.experiments.store import Store
from rethinklab.experiments.study import Study
from rethinklab.trainers.regimes import UNPRUNED, find_regime, regime_order, regime_title
from rethinklab.values import plain

NESTED = ("needs", "ledger", "files")
TEXTS = ("target", "preset", "options")  # that a table could take for numbers, or for nothing
SCHEDULED = ("one-cycle", "restart", "linear", "weight-rewind")
MANY_EPOCHS = 5
NUMBERS = ("seed", "test_accuracy", "params", "macs", "epochs", "seconds", "margin")


class Results:
    """One row a trial in `frame`; accuracies there are fractions, here percentage points.

    margin: of equivalence, as the study declared it. label: what tables and figures say about
    where the numbers are from: scale, data, device, seeds. store: where the trials' files are;
    None for results that were read from a table.
    """

    def __init__(self, frame: pd.DataFrame, margin: float, label: str, name: str = "",
                 store: Store | None = None) -> None:
        known = sorted(set(frame["regime"]), key=regime_order)
        frame = frame.assign(regime=pd.Categorical(frame["regime"], known, ordered=True))
        self.frame = frame.sort_values(["regime", "seed"]).reset_index(drop=True)
        self.margin, self.label, self.name, self.store = plain(margin), label, name, store

    @property
    def regimes(self) -> list[str]:
        """The regimes that have results, the unpruned network first."""
        return list(self.frame["regime"].cat.categories)

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
        pruned = [regime for regime in self.regimes if regime != UNPRUNED]
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
        images each network got right. Raises ConfigError where that is not stored."""
        if self.store is None:
            raise ConfigError("which images were right is in the store, and these results were "
                              "read from a table; use rl.run or the study's name.")
        found = []
        seeds = self.accuracies(a).index.intersection(self.accuracies(b).index)
        for seed in seeds:
            right = [self._correct(regime, seed) for regime in (a, b)]
            names = (f"{regime_title(a)}, seed {seed}", f"{regime_title(b)}, seed {seed}")
            found.append(mcnemar(*right, names=names))
        return found

    def _correct(self, regime: str, seed: int) -> Any:
        rows = self.frame[(self.frame["regime"] == regime) & (self.frame["seed"] == seed)]
        assert self.store is not None
        right = load_correctness(self.store.trained(rows["address"].iloc[0]))
        if right is None:
            raise ConfigError(f"{regime_title(regime)} of seed {seed} was run before the kit "
                              "stored which images are right; run it in a new store.")
        return right.numpy()

    def ledger(self) -> pd.DataFrame:
        """What a trial of each regime cost in all, everything that it rests on included, what it
        shares with others in full: a row per
        regime with the means of epochs, training images, multiply-adds of forward and backward
        passes, passes over calibration images, and seconds."""
        columns = [c for c in self.frame if c.startswith("spent_")]
        if not columns:
            raise ConfigError("these results are from before the kit kept a ledger; run the study "
                              "in a new store.")
        table = self.frame.groupby("regime", observed=True)[columns].mean()
        table.index = pd.Index([str(regime) for regime in table.index], name="regime")
        return table.rename(columns=lambda name: name.removeprefix("spent_"))

    @property
    def _method(self) -> str:
        return str(self.frame["method"].iloc[0]) if "method" in self.frame else self.name

    def notes(self) -> list[str]:
        """What a reader must know before believing the verdicts."""
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

    def table(self) -> pd.DataFrame:
        """The summary with titles and rounded text, for reading."""
        summary = self.summary()
        return pd.DataFrame({
            "regime": [regime_title(r) for r in summary.index],
            "n": summary["n"].to_list(),
            "accuracy": [f"{m:.2f}" for m in summary["mean"]],
            "sd": ["-" if pd.isna(s) else f"{s:.2f}" for s in summary["sd"]],
            "params": [_short(p) for p in summary["params"]],
            "MACs": [_short(m) for m in summary["macs"]],
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

    def save(self, path: Any) -> None:
        """Write `to_frame()` to a file, for `Results.load`: Parquet where the name ends in
        .parquet, else CSV."""
        if Path(path).suffix == ".parquet":
            self.to_frame().to_parquet(path, index=False)
        else:
            Path(path).write_text(self.to_csv())

    def to_frame(self) -> pd.DataFrame:
        """The frame with study, margin and label repeated in columns: all there is to tell."""
        return self.frame.assign(regime=self.frame["regime"].astype(str), study=self.name,
                                 margin=self.margin, label=self.label)

    def to_csv(self) -> str:
        """`to_frame()` as CSV text."""
        return str(self.to_frame().to_csv(index=False, lineterminator="\n"))

    @classmethod
    def load(cls, path: Any) -> Results:
        """Results that `save` wrote. Raises ConfigError where the file is not such a one."""
        try:
            frame = (pd.read_parquet(path) if Path(path).suffix == ".parquet" else
                     pd.read_csv(path, dtype=dict.fromkeys(TEXTS, str)))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read as a table of results ({error}).") from error
        frame = frame.fillna({name: "" for name in TEXTS if name in frame})
        lacking = {*NUMBERS, "regime", "study", "label"} - set(frame.columns)
        if lacking or frame.empty:
            what = f"column {', '.join(sorted(lacking))}" if lacking else "row"
            raise ConfigError(f"{path} is not a table of results: it has no {what}.")
        for column in NUMBERS:
            values = pd.to_numeric(frame[column], errors="coerce")
            if values.isna().any():
                wrong = frame.loc[values.isna(), column].iloc[0]
                raise ConfigError(f"{path}: {wrong!r} in column {column} is not a number.")
        for regime in frame["regime"].unique():
            if regime != UNPRUNED:
                find_regime(regime)
        return cls(frame.drop(columns=["study", "margin", "label"]), float(frame["margin"].iloc[0]),
                   str(frame["label"].iloc[0]), str(frame["study"].iloc[0]))


def paired(first: pd.Series, second: pd.Series, a: str, b: str) -> tuple[list[float], list[float]]:
    """The values of the seeds that both have. Raises ConfigError where there is none."""
    seeds = first.index.intersection(second.index)
    if len(seeds) == 0:
        raise ConfigError(f"{a} and {b} have no seed in common to compare.")
    return list(first[seeds]), list(second[seeds])


def collect(study: Study, store: Store, addresses: Iterable[str]) -> Results:
    """The results at those addresses that are stored already."""
    rows = [row for row in map(store.read_address, sorted(set(addresses))) if row]
    if not rows:
        raise ConfigError(f"no trial of {study.name} is stored in {store.root} yet.")
    frame = pd.DataFrame([flat(row, store) for row in rows]).assign(**origin(study))
    for column in ("device", "threads"):
        if frame[column].nunique() > 1:
            found = " and ".join(sorted(map(str, frame[column].unique())))
            warnings.warn(f"the trials of {study.name} were run with different {column} ({found}), "
                          "whose rounding differs; pairs may be less alike than their seeds.",
                          stacklevel=2)
    return Results(frame, float(study.margin or 0), label(study, frame), study.name,
                   store)


def origin(study: Study) -> dict[str, Any]:
    """What the study was about, as columns of its results."""
    return {"dataset": study.dataset.rstrip("/").split("/")[-1].removeprefix("folder:"),
            "model": study.network, "method": study.method, "target": str(study.target),
            "scale": study.scale, "preset": study.preset, "width": study.width,
            "lr": study.large_recipe.lr,
            "options": json.dumps(dict(study.method_options), sort_keys=True, default=str)}


def flat(row: Mapping[str, Any], store: Store) -> dict[str, Any]:
    """A stored result as a row of plain values; its ledger and those of all stages that it rests
    on are summed into the columns spent_..."""
    plain = {name: value for name, value in row.items() if name not in NESTED}
    return plain | {f"spent_{name}": value for name, value in whole_ledger(row, store).items()}


def whole_ledger(row: Mapping[str, Any], store: Store) -> dict[str, float]:
    """What a result and all that it rests on cost; empty where an old result does not say."""
    seen: dict[str, Mapping[str, Any]] = {}
    waiting = [row]
    while waiting:
        stage = waiting.pop()
        if stage["address"] not in seen:
            seen[stage["address"]] = stage
            waiting += [found for found in map(store.read_address, stage.get("needs", ())) if found]
    ledgers = [stage.get("ledger") for stage in seen.values()]
    if None in ledgers:
        return {}
    return {name: sum(ledger[name] for ledger in ledgers)  # type: ignore[index]
            for name in Ledger().to_dict()}


def label(study: Study, frame: pd.DataFrame) -> str:
    """Where the numbers are from, in one line."""
    def listed(values: Iterable[Any]) -> str:
        return " and ".join(sorted({str(v) for v in values}))

    seeds = frame["seed"].nunique()
    precision = "" if study.precision == "fp32" else f", {study.precision}"
    return (f"{study.scale.capitalize()} scale; {study.method}, target {study.target}, on "
            f"{study.model}, width {study.width:g}; data {listed(frame['data'])}, "
            f"{frame['train_images'].max():,} training images; "
            f"{listed(frame['device'])}{precision}; {seeds} seed" + "s" * (seeds != 1))


def _short(count: float) -> str:
    if count < 1e4:
        return f"{count / 1e3:.1f}K"
    return f"{count / 1e6:.2f}M" if count < 1e9 else f"{count / 1e9:.2f}G"


def stored_results(name: str, store: Store) -> Results:
    """The results of the stored study whose name is or begins with `name`.

    Raises ConfigError where none or several match.
    """
    name = store.find_study(name)
    content = store.studies()[name]
    try:
        study, addresses = Study.from_dict(content["study"]), content["addresses"].values()
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"the study {name} in {store.root} is damaged ({error!r}); `rethinklab "
                         "store repair` moves it aside, then run it again.") from error
    return collect(study, store, addresses)
