"""Tables over several studies: what they show together that none shows alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from rethinklab.analysis.ledger import BACKWARD
from rethinklab.results.files import labelled
from rethinklab.results.groups import (
    joint_label,
    lr_of,
    names_of,
    of_studies,
    options_of,
    setting,
    share,
    unit,
)
from rethinklab.results.results import Results
from rethinklab.trainers.regimes import UNPRUNED, find_regime, prunes

THEORY = "multiply-adds of masked networks count weights that live, a network computes all"
TICKETS = ("ticket", "scratch-e")


def budget_table(results: Results) -> pd.DataFrame:
    """What each trial cost and reached: regime, seed, test_accuracy (a fraction), macs_spent,
    macs_own.

    macs_spent: multiply-adds of forward and backward passes of all training that the trial rests
    on; for results put together by hand those of its own training and of the unpruned network's.
    macs_own: of its own training alone. NaN where the unpruned network is missing.
    """
    frame = results.frame
    own = ((1 + BACKWARD) * frame["epochs"] * frame["macs"]
           * (frame.get("train_images", math.nan)))
    names = frame["regime"].astype(str)
    unpruned = names == UNPRUNED
    alone = unpruned | names.map(lambda name: name != UNPRUNED
                                 and find_regime(name).start == "untrained")
    large = own[unpruned].groupby(frame.loc[unpruned, "seed"]).first()
    parts = ["spent_forward_macs", "spent_backward_macs"]
    spent = (frame[parts].astype(float).sum(axis=1, skipna=False) if set(parts) <= set(frame) else
             own + frame["seed"].map(large).where(~alone, 0.0))
    table = pd.DataFrame({
        "regime": names, "seed": frame["seed"],
        "test_accuracy": frame["test_accuracy"], "macs_spent": spent, "macs_own": own})
    return labelled(table, results.label, THEORY if unit(results) == "weights" else "")


def ratio_tables(studies: Sequence[Results]) -> dict[str, pd.DataFrame]:
    """The studies that differ in their target only, where at least two targets are shares: a
    table a group, with columns regime, seed, ratio (the share removed), test_accuracy (both
    fractions) and removed ("channels" or "weights"). Unpruned networks have ratio 0.

    Lottery tickets are left to `lottery_tables`.
    """
    groups: dict[tuple[Any, ...], list[tuple[float, Results]]] = {}
    for results in studies:
        ratio = share(results.settings.get("target"))
        if not math.isnan(ratio) and results.settings.get("method") != "lottery":
            groups.setdefault(setting(results), []).append((ratio, results))
    groups = {key: found for key, found in groups.items() if len({r for r, _ in found}) > 1}
    tables = {}
    for key, name in names_of(list(groups)).items():
        parts = [results.frame.assign(ratio=ratio) for ratio, results in groups[key]]
        table = pd.concat(parts, ignore_index=True)
        table["regime"] = table["regime"].astype(str)
        table.loc[~table["regime"].map(prunes), "ratio"] = 0.0
        table = _once(table, ["regime", "ratio", "seed"]).assign(removed=unit(groups[key][0][1]))
        tables[name] = _of(
            table[["regime", "seed", "ratio", "test_accuracy", "removed"]],
            [results for _, results in groups[key]])
    return tables


def lottery_tables(studies: Sequence[Results]) -> dict[str, pd.DataFrame]:
    """Winning tickets and the same masks with new weights, of studies by the method lottery: a
    table for each network and data, with columns kind ("one-shot" or "iterative"), regime
    ("ticket" or "scratch-e"), lr (of the large network; NaN where it is not known), seed, ratio
    (the share removed after all rounds), test_accuracy, removed.

    Studies whose target is no share, or whose rounds are not known, are left out.
    """
    groups: dict[tuple[Any, ...], list[tuple[int, float, Results]]] = {}
    for results in studies:
        options, about = options_of(results), results.settings
        ratio = share(about.get("target"))
        if about.get("method") != "lottery" or "rounds" not in options or math.isnan(ratio):
            continue
        rounds = int(options.pop("rounds"))
        total = 1 - (1 - ratio) ** rounds
        key = setting(results, free=("lr",), options=options)
        groups.setdefault(key, []).append((rounds, total, results))
    tables = {}
    for key, name in names_of(list(groups)).items():
        parts = [results.frame.assign(
            kind="one-shot" if rounds == 1 else "iterative", ratio=round(total, 9),
            lr=lr_of(results), removed=unit(results))
            for rounds, total, results in groups[key]]
        table = pd.concat(parts, ignore_index=True)
        table["regime"] = table["regime"].astype(str)
        table = table[table["regime"].isin(TICKETS)]
        if len(table):
            table = _once(table, ["kind", "regime", "lr", "ratio", "seed"])
            tables[name] = _of(
                table[["kind", "regime", "lr", "seed", "ratio", "test_accuracy", "removed"]],
                [results for _, _, results in groups[key]])
    return tables


def _once(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """One row for each trial: studies share their unpruned networks."""
    return table.drop_duplicates(by).sort_values(by, ignore_index=True)


def _of(table: pd.DataFrame, studies: Sequence[Results]) -> pd.DataFrame:
    return of_studies(table, joint_label(studies), studies)
