"""Published beside own results, for reading: the overview, a preset in full, and a study's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rethinklab.experiments.paper.choice import find
from rethinklab.experiments.paper.published import LEGEND, README, cell, cells, rows_of
from rethinklab.experiments.paper.rows import DATASETS, PRESETS, Preset
from rethinklab.results.results import Results
from rethinklab.results.text import mean_sd
from rethinklab.trainers.recipe import Recipe
from rethinklab.trainers.regimes import UNPRUNED, find_regime, regime_order, regime_title

ABSENT = "-"


def overview_text(own: Sequence[Results] = ()) -> str:
    """Lines for each preset: its name and meaning, what is published ("?" marks what was not
    verified), and the means of own results that repeat it."""
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
    mine = _means(results)
    return "\n".join([f"Beside the paper: {find(name).meaning}", "",
                      *_columns(name, {results.label: mine}), "", f"own  {results.label}", LEGEND])


def describe(name: str, own: Sequence[Results] = (), ratio: float | None = None) -> str:
    """A preset in words: network, target, epochs and falls of the learning rate of each regime
    at scale "paper", and published numbers beside the means of own results.

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


def _studies(own: Sequence[Results], name: str) -> dict[str, dict[str, str]]:
    """Own results of a preset: {label: {regime: text}}."""
    return {f"{results.label} [{results.name}]": _means(results) for results in own
            if results.settings.get("preset") == name}


def _means(results: Results) -> dict[str, str]:
    return {str(regime): mean_sd(row["mean"], row["sd"], int(row["n"]))
            for regime, row in results.summary().iterrows()}


def _regimes(studies: Mapping[str, Mapping[str, str]]) -> Sequence[str]:
    return sorted({regime for found in studies.values() for regime in found}, key=regime_order)


def _listed(found: Mapping[str, str]) -> str:
    return ", ".join(f"{regime_title(regime)} {found[regime]}"
                     for regime in sorted(found, key=regime_order))
