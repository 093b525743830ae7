"""The recorded results in words: RESULTS.md, and the table of README.md, made from data/results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from rethinklab.analysis.statistics import PairedComparison
from rethinklab.errors import ConfigError
from rethinklab.experiments.paper import LEGEND, PRESETS
from rethinklab.experiments.paper.published import cells
from rethinklab.experiments.results import Results
from rethinklab.trainers.regimes import UNPRUNED, find_regime, regime_title

FEWEST_PAIRS = 3  # below, a comparison is shown and not counted
ABOVE_CHANCE = 1.5  # times chance, below which a network has learnt next to nothing
COMMAND = "rethinklab summary --from data/results"
START, END = "<!-- results: made by `rethinklab summary` -->", "<!-- end of results -->"
AGREE = {"better": "agrees", "equivalent": "agrees", "not inferior": "agrees",
         "worse": "disagrees", "not decided": "open"}


def verdicts(results: Results) -> list[PairedComparison]:
    """What the study says about Scratch-E and Scratch-B against the fine-tuning of 2019, of the
    seeds that have both."""
    wanted = [regime for regime in results.regimes
              if regime == UNPRUNED or regime == "finetune" or find_regime(regime).start == "new"]
    frame = results.frame[results.frame["regime"].isin(wanted)]
    try:
        return Results(frame.assign(regime=frame["regime"].astype(str)), results.margin,
                       results.label, results.name).verdicts()
    except ConfigError:  # no seed with both
        return []


def results_table(studies: Mapping[str, Results]) -> str:
    """A line for each study and regime: published, ours, and the verdict."""
    lines = ["| study | regime | published | ours (%) | n | against fine-tuning (points) | "
             "verdict |",
             "|---|---|---|---|---|---|---|"]
    for name, results in studies.items():
        preset = str(results.frame["preset"].iloc[0]) if "preset" in results.frame else ""
        printed = cells(preset) if preset in PRESETS else {}
        found = {c.a: c for c in verdicts(results) if c.b == regime_title("finetune")}
        for regime, row in results.summary().iterrows():
            title = regime_title(str(regime))
            comparison = found.get(title)
            sd = "" if pd.isna(row["sd"]) else f" ±{row['sd']:.2f}"
            lines.append(
                f"| {name} | {title} | {printed.get(str(regime), '')} | {row['mean']:.2f}{sd} | "
                f"{int(row['n'])} | {_difference(comparison)} | {_verdict(comparison)} |")
    return "\n".join(lines)


def _difference(c: PairedComparison | None) -> str:
    if c is None:
        return ""
    interval = "" if pd.isna(c.low) else f" ({c.low:+.2f} to {c.high:+.2f})"
    return f"{c.mean:+.2f}{interval}"


def _verdict(c: PairedComparison | None) -> str:
    if c is None:
        return ""
    return f"{c.verdict} within {c.margin:g}" if c.verdict == "equivalent" else c.verdict


def answer(studies: Mapping[str, Results]) -> str:
    """The paper's question answered by these results, in plain words, with what limits it."""
    counted: dict[str, Counter[str]] = {}
    left_out = [name for name, results in studies.items() if guessing(results)]
    for name, results in studies.items():
        for c in () if name in left_out else verdicts(results):
            if c.b == regime_title("finetune") and c.n >= FEWEST_PAIRS:
                counted.setdefault(c.a, Counter())[AGREE[c.verdict]] += 1
    if not counted:
        return (f"No study here has {FEWEST_PAIRS} pairs or more of a network trained from scratch "
                "and a fine-tuned one, so nothing is answered yet.")
    sentences = []
    for regime, tally in counted.items():
        total = sum(tally.values())
        sentences.append(
            f"{regime} is at least as good as fine-tuning, or equivalent, in {tally['agrees']} of "
            f"{total} {'study' if total == 1 else 'studies'}, worse in {tally['disagrees']}, and "
            f"in {tally['open']} it is not decided.")
    against = sum(tally["disagrees"] for tally in counted.values())
    favour = sum(tally["agrees"] for tally in counted.values())
    conclusion = (
        "So far the inherited weights are nowhere worth more than the architecture that pruning "
        "found, which is what the paper says." if favour and not against else
        "So far the inherited weights are worth more than the architecture, against the paper."
        if against and not favour else
        "It depends on the study which is worth more." if favour else
        "No comparison is decided: more pairs are needed.")
    if left_out:
        sentences.append(f"Not counted: {', '.join(left_out)}, whose fine-tuned networks guess, so "
                         "that nothing can be said of what they inherited.")
    return " ".join([*sentences, conclusion])


def guessing(results: Results) -> bool:
    """Whether the fine-tuned networks do hardly better than chance."""
    means = results.summary()["mean"]
    if "finetune" not in means or "classes" not in results.frame:
        return False
    return bool(means["finetune"] < ABOVE_CHANCE * 100 / float(results.frame["classes"].iloc[0]))


def limits(studies: Mapping[str, Results]) -> list[str]:
    """What the answer rests on: scales, data, devices and numbers of seeds."""
    frames = [results.frame for results in studies.values()]

    def values(column: str) -> str:
        return ", ".join(sorted({str(value) for frame in frames if column in frame
                                 for value in frame[column].dropna()}))

    seeds = [frame["seed"].nunique() for frame in frames]
    found = [f"Scales: {values('scale')}. Data: {values('data')}. Devices: {values('device')}.",
             f"Seeds a study: {min(seeds)} to {max(seeds)}."]
    if any("quick" in set(frame.get("scale", ())) for frame in frames):
        found.append("Quick studies train slim networks for a few epochs: they show how the "
                     "question is asked and not what holds at the published scale.")
    return found


def why(results: Results) -> list[str]:
    """What in the study itself could explain its outcome, each with the numbers."""
    summary, found = results.summary(), []
    means = summary["mean"]
    if UNPRUNED in means and "scratch-b" in means and (
            means["scratch-b"] > means[UNPRUNED] + results.margin):
        found.append(f"Scratch-B ends at {means['scratch-b']:.2f} %, above the unpruned network's "
                     f"{means[UNPRUNED]:.2f} %: the large network had not finished learning, which "
                     "favours whatever trains for longer.")
    if UNPRUNED in means and "finetune" in means and (
            means["finetune"] < means[UNPRUNED] - 5 * results.margin):
        found.append(f"Fine-tuning, {summary.loc['finetune', 'epochs']:g} epochs at the last "
                     f"learning rate, ends at {means['finetune']:.2f} % and does not make good "
                     f"what the cut destroyed (unpruned {means[UNPRUNED]:.2f} %).")
    return found + results.notes()


def results_page(studies: Mapping[str, Results]) -> str:
    """The text of RESULTS.md."""
    parts = ["# Results", "",
             f"Made by `{COMMAND}` from the recorded results; nothing here was typed by hand.", "",
             "## Weights or architecture?", "", answer(studies), "",
             *(f"- {line}" for line in limits(studies)), "",
             "## Every study", "", results_table(studies), "", LEGEND, ""]
    for name, results in studies.items():
        parts += [f"### {name}", "", results.label + ".", ""]
        parts += [f"- {verdict}" for verdict in verdicts(results)]
        parts += [f"- {reason}" for reason in why(results)]
        parts += ["- Trials: " + ", ".join(f"`{address}`" for address in
                                           sorted(results.frame["address"])) + ".", ""]
    return "\n".join(parts)


def with_results(text: str, studies: Mapping[str, Results]) -> str:
    """A page whose part between the marks is the answer and the table of the studies that it
    counts. Raises ConfigError where
    the marks are missing."""
    if START not in text or END not in text:
        raise ConfigError(f"the page has no line {START!r} and, after it, {END!r}, between which "
                          "the results go.")
    counted = {name: results for name, results in studies.items()
               if any(c.n >= FEWEST_PAIRS for c in verdicts(results))}
    before, _, rest = text.partition(START)
    after = rest.partition(END)[2]
    return "\n".join([before + START, "", answer(studies), "", results_table(counted), "",
                      END + after])


def write_summary(studies: Mapping[str, Results], out: str | Path,
                  page: str | Path | None = None) -> Sequence[Path]:
    """Write RESULTS.md as `out` and, where `page` is given, the results into that page."""
    written = [Path(out)]
    if page is not None:
        text = with_results(Path(page).read_text(encoding="utf-8"), studies)
        Path(page).write_text(text, encoding="utf-8")
        written.append(Path(page))
    written[0].write_text(results_page(studies), encoding="utf-8")
    return written
