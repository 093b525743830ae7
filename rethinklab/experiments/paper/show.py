"""Published beside own results, for reading: the overview, a preset in full, and a study's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rethinklab.experiments.paper.choice import find
from rethinklab.experiments.paper.published import LEGEND, README, cell, cells, rows_of
from rethinklab.experiments.paper.rows import DATASETS, PRESETS, Preset
from rethinklab.trainers.regimes import UNPRUNED, find_regime, regime_order, regime_title

if TYPE_CHECKING:
    import pandas as pd

    from rethinklab.experiments.results import Results
    from rethinklab.trainers.recipe import Recipe

ABSENT = "-"
BETWEEN = " | "  # own results of several studies, always in the same order


def overview(own: pd.DataFrame | None = None) -> pd.DataFrame:
    """A row for each preset: name, table, meaning, what is published for each regime (columns
    "published REGIME", text such as "93.41 ±0.12 ?"), and own results (columns "own REGIME").

    own: a row for each preset, study and regime, with columns preset, regime, mean and sd (in
    percent), n, scale and label. Several studies of a preset are set apart by "|", in the order
    of the column "own from", which holds their labels. "?" marks what was not verified.
    """
    import pandas as pd

    rows = []
    for row in PRESETS.values():
        studies = _studies(own, row.name)
        rows.append({
            "preset": row.name, "table": row.table, "meaning": row.meaning,
            **{f"published {regime}": text for regime, text in cells(row.name).items()},
            **{f"own {regime}": BETWEEN.join(found.get(regime, ABSENT) for found in
                                             studies.values())
               for regime in _regimes(studies)},
            "own from": BETWEEN.join(studies)})
    frame = pd.DataFrame(rows).fillna("")
    head = ["preset", "table", "meaning"]
    spoken = [c for c in frame if c not in (*head, "own from")]
    spoken.sort(key=lambda c: (c.startswith("own"), *regime_order(c.partition(" ")[2])))
    return frame[[*head, *spoken, "own from"]]


def overview_text(own: pd.DataFrame | None = None) -> str:
    """The overview as lines: the name of a preset and its meaning, then published and own."""
    wide = max(map(len, PRESETS))
    lines = []
    for row in PRESETS.values():
        lines.append(f"{row.name:{wide}}  {row.table}. {row.meaning}.")
        printed = cells(row.name)
        if printed:
            lines.append(f"{'':{wide}}  published: {_listed(printed)}")
        lines += [f"{'':{wide}}  own: {_listed(found)} ({label})"
                  for label, found in _studies(own, row.name).items()]
    return "\n".join([*lines, LEGEND])


def beside(name: str, results: Results) -> str:
    """A study's means beside what is published for the preset `name` that it repeats, with where
    each is from."""
    summary = results.summary()
    mine = {str(regime): _own(row["mean"], row["sd"], int(row["n"]))
            for regime, row in summary.iterrows()}
    return "\n".join([f"Beside the paper: {find(name).meaning}", "",
                      *_columns(name, {results.label: mine}), "", f"own  {results.label}", LEGEND])


def describe(name: str, own: pd.DataFrame | None = None, ratio: float | None = None) -> str:
    """A preset in words: network, target, epochs and falls of the learning rate of each regime
    at scale "paper", and published numbers beside own ones (as `overview` takes them).

    ratio: of FLOPs, large over pruned, for Scratch-B of a row whose ratio follows from training.
    Raises ConfigError for an unknown preset, or a ratio below 1.
    """
    row = find(name)
    ratio = ratio or row.ratio
    given = {**row.model_options, **row.options}
    lines = [f"{row.name} ({row.table})", f"{row.meaning}.", "",
             f"network  {row.model}, {DATASETS[row.dataset]}",
             f"method   {row.method}, target {row.target}" + (
                 f"; stands for the pruned network: {row.pruned_model}" if row.pruned_model
                 else ""),
             *([f"options  {', '.join(f'{key}={value}' for key, value in given.items())}"]
               if given else []),
             f"recipe   {_recipe(row)}",
             f"note     {row.note}", ""]
    lines += [f"{regime_title(regime):24}  {_budget(row, regime, ratio)}"
              for regime in (UNPRUNED, *row.regimes)]
    studies = _studies(own, name)
    lines += ["", *_columns(name, studies), "", *[
        f"own {number}  {label}" for number, label in enumerate(studies, 1)]]
    printed = [r for r in rows_of(name) if r["source"] == README or r["note"]]
    lines += [f"{r['source']}, {regime_title(r['regime'])}  {cell(r)}"
              + (f": {r['note']}" if r["note"] else "") for r in printed]
    return "\n".join([*lines, LEGEND])


def _recipe(row: Preset) -> str:
    recipe = row.recipe
    return (f"batch {recipe.batch_size}, lr {recipe.lr:g}, times {recipe.decay:g} at each fall, "
            f"momentum {recipe.momentum:g}{' (Nesterov)' if recipe.nesterov else ''}, weight decay "
            f"{recipe.weight_decay:g}{', one epoch of warm-up' if recipe.warmup else ''}")


def _budget(row: Preset, regime: str, ratio: float | None) -> str:
    """Epochs of a regime, and the epochs at whose start its learning rate falls."""
    budget: Recipe | None = row.recipe
    if regime != UNPRUNED:
        rule = find_regime(regime)
        stretched = rule.budget(row.recipe, 1.0) != rule.budget(row.recipe, 1.5)
        if ratio is None and stretched:
            counted = row.recipe.counted_epochs or row.recipe.epochs
            return f"int({counted} x ratio) epochs; the ratio of FLOPs follows from training"
        budget = rule.budget(row.recipe, ratio or 1.0)
    if budget is None:
        return "no training"
    falls = ", ".join(map(str, budget.drops))
    return (f"{budget.epochs} epochs, lr {budget.lr:g}" + (
        f", falls at {falls}" if falls else ", constant"))


def _columns(name: str, studies: Mapping[str, Mapping[str, str]]) -> list[str]:
    """A table of text: a line a regime, published, then each study's own."""
    printed = cells(name)
    regimes = sorted({*printed, *_regimes(studies)}, key=regime_order)
    if not regimes:
        return ["No published number of this row is known here."]
    heads = ["own" if len(studies) == 1 else f"own {number}"
             for number in range(1, len(studies) + 1)]
    table = [["", "published", *heads]]
    table += [[regime_title(regime), printed.get(regime, ABSENT),
               *[found.get(regime, ABSENT) for found in studies.values()]] for regime in regimes]
    wide = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    return ["  ".join(f"{text:{width}}" for text, width in zip(line, wide, strict=True)).rstrip()
            for line in table]


def _studies(own: pd.DataFrame | None, name: str) -> dict[str, dict[str, str]]:
    """Own results of a preset: {label: {regime: text}}."""
    if own is None:
        return {}
    found: dict[str, dict[str, str]] = {}
    for line in own[own["preset"] == name].to_dict("records"):
        found.setdefault(str(line["label"]), {})[str(line["regime"])] = _own(
            line["mean"], line["sd"], int(line["n"]))
    return found


def _own(mean: float, sd: float, n: int) -> str:
    """Mean, sd where there is one (it is not NaN), and number of seeds."""
    return f"{mean:.2f}" + (f" ±{sd:.2f}" if sd == sd else "") + f" (n {n})"


def _regimes(studies: Mapping[str, Mapping[str, str]]) -> Sequence[str]:
    return sorted({regime for found in studies.values() for regime in found}, key=regime_order)


def _listed(found: Mapping[str, str]) -> str:
    return ", ".join(f"{regime_title(regime)} {found[regime]}"
                     for regime in sorted(found, key=regime_order))
