"""The recorded results in words: RESULTS.md, and the answer in README.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import pandas as pd

from rethinklab.analysis.statistics import PairedComparison
from rethinklab.errors import ConfigError
from rethinklab.experiments.paper import LEGEND
from rethinklab.experiments.paper.published import cells
from rethinklab.pruners import CONTROLS
from rethinklab.results.across import across_table
from rethinklab.results.groups import of_studies
from rethinklab.results.results import Results
from rethinklab.results.text import mean_sd
from rethinklab.trainers.regimes import UNPRUNED, regime_title

FEWEST_METHODS = 3  # from which others of their kind can be told
FEWEST_PAIRS = 3  # below, a comparison is shown and not counted
ABOVE_CHANCE = 1.5  # times chance, below which a network has learnt next to nothing
FOREST = ["study", "regime", "against", "mean", "low", "high", "n", "margin", "verdict"]
COMMAND = "rethinklab summary --from data/results"
START, END = "<!-- results: made by `rethinklab summary` -->", "<!-- end of results -->"
BASELINES = {  # of inherited weights, with what the page calls their training
    "finetune": "the fine-tuning of 2019, a quarter of the epochs at the last learning rate",
    "lr-rewind": "LR rewinding, the whole schedule once more"}
SCRATCH = ("scratch-e", "scratch-b")
BUDGETS = {"Scratch-E": "new weights, as many epochs",
           "Scratch-B": "new weights, as much computation"}
AGREE = {"better": "agrees", "equivalent": "agrees", "not inferior": "agrees",
         "worse": "disagrees", "not decided": "open"}


@lru_cache(maxsize=256)
def verdicts(results: Results) -> list[PairedComparison]:
    """What the study says about Scratch-E and Scratch-B against the two ways to train inherited
    weights that the summary looks at, of the seeds that have both: one family."""
    try:
        return results.only(UNPRUNED, *BASELINES, *SCRATCH).verdicts()
    except ConfigError:  # no seed with both
        return []


def against(results: Results, baseline: str) -> dict[str, PairedComparison]:
    """The verdicts against one of the baselines, by the title of the regime."""
    return {c.a: c for c in verdicts(results) if c.b == regime_title(baseline)}


def results_table(studies: Mapping[str, Results]) -> str:
    """A line for each study: pairs, mean test accuracies (%) of the regimes in question, published
    numbers in brackets where it repeats a row of the paper, and the verdicts on Scratch-E and
    Scratch-B against either way to train inherited weights, with the gap in points."""
    shown = (UNPRUNED, *BASELINES, *SCRATCH)
    lines = [f"| study | n | {' | '.join(map(regime_title, shown))} | against fine-tuning | "
             "against LR rewinding |", "|---" * (len(shown) + 4) + "|"]
    for name, results in studies.items():
        printed = cells(results.settings.get("preset", ""))
        summary = results.summary()
        means = [mean_sd(summary.loc[regime, "mean"], summary.loc[regime, "sd"])
                 + (f" [{printed[regime]}]" if regime in printed else "")
                 if regime in summary.index else "" for regime in shown]
        said = ["; ".join(f"{_letter(title)} {c.mean:+.2f} {_verdict(c)}" for title, c in
                          against(results, baseline).items()) for baseline in BASELINES]
        lines.append(f"| {' | '.join([name, str(int(summary['n'].max())), *means, *said])} |")
    return "\n".join(lines)


def _letter(title: str) -> str:
    """Which of the two scratch regimes, in a letter."""
    return title.removeprefix("Scratch-")


def _verdict(c: PairedComparison) -> str:
    return f"{c.verdict} within {c.margin:g}" if c.verdict == "equivalent" else c.verdict


def answer(studies: Mapping[str, Results]) -> str:
    """The paper's question answered by these results, in plain words, with what limits it."""
    paragraphs = []
    for baseline, tallies in _answered(studies):
        counts = [
            f"{regime} is at least as good, or equivalent, in {len(found['agrees'])} of "
            f"{sum_of(found)} {'study' if sum_of(found) == 1 else 'studies'}, worse in "
            f"{len(found['disagrees'])}, and in {len(found['open'])} it is not decided."
            for regime, found in tallies.items()]
        paragraphs.append(" ".join(filter(None, [
            f"**Against {BASELINES[baseline]}.**", conclusion(tallies),
            _most_methods(studies, baseline),
            *counts])))
    if not paragraphs:
        return (f"No study here has {FEWEST_PAIRS} pairs or more of a network trained from scratch "
                "and a fine-tuned one, so nothing is answered yet.")
    left_out = [name for name, results in studies.items() if guessing(results)]
    if left_out:
        paragraphs.append(f"Not counted: {', '.join(left_out)}, whose fine-tuned networks guess, "
                          "so that nothing can be said of what they inherited.")
    return "\n\n".join(paragraphs)


Tally = dict[str, list[str]]


def counted(studies: Mapping[str, Results], baseline: str) -> list[tuple[str, PairedComparison]]:
    """The comparisons with a baseline that count, each with the name of its study.

    Counted are studies of three pairs or more of a pruning method; not its controls, not those
    whose fine-tuned networks guess, and of several with the same trials only the first.
    """
    found: list[tuple[str, PairedComparison]] = []
    seen: set[frozenset[str]] = set()
    for name, results in _of_methods(studies).items():
        for regime in SCRATCH:
            c = against(results, baseline).get(regime_title(regime))
            frame = results.frame
            trials = frozenset(frame.loc[frame["regime"].isin([regime, baseline]), "address"])
            if c is None or c.n < FEWEST_PAIRS or (trials and trials in seen):
                continue
            seen.add(trials)
            found.append((name, c))
    return found


def tally(studies: Mapping[str, Results], baseline: str) -> dict[str, Tally]:
    """By the title of the scratch regime, the names of the studies that agree with the paper, that
    disagree and that leave it open."""
    found: dict[str, Tally] = {}
    for name, c in counted(studies, baseline):
        found.setdefault(c.a, {kind: [] for kind in dict.fromkeys(AGREE.values())})[
            AGREE[c.verdict]].append(name)
    return found


def _answered(studies: Mapping[str, Results]) -> list[tuple[str, dict[str, Tally]]]:
    """The baselines against which something is counted, each with its tallies."""
    tallies = [(baseline, tally(studies, baseline)) for baseline in BASELINES]
    return [(baseline, found) for baseline, found in tallies if any(map(sum_of, found.values()))]


def _of_methods(studies: Mapping[str, Results]) -> dict[str, Results]:
    """The studies of pruning methods, not of controls, whose fine-tuned networks have learnt."""
    return {name: results for name, results in studies.items()
            if not guessing(results) and not is_control(results)}


def forest_table(studies: Mapping[str, Results]) -> pd.DataFrame:
    """The comparisons that the answer counts, a row each: study, regime and against (names of
    regimes), and mean, low, high (points), n, margin and verdict. Those that have most pairs and
    the widest choice of recipes come first. No rows where nothing is counted."""
    regimes = {regime_title(regime): regime for regime in SCRATCH}
    rows = [{"study": name, "regime": regimes[c.a], "against": baseline, "mean": c.mean,
             "low": c.low, "high": c.high, "n": c.n, "margin": c.margin, "verdict": c.verdict}
            for baseline in BASELINES for name, c in counted(studies, baseline)]
    if not rows:
        return pd.DataFrame(columns=FOREST)
    frame = pd.DataFrame(rows, columns=FOREST)
    recipes = frame.groupby("study")["against"].nunique()
    frame = frame.sort_values("study", kind="stable", key=lambda names: names.map(
        {name: (-recipes[name], name) for name in recipes.index}))
    used = {name: studies[name] for name in frame["study"].unique()}
    return of_studies(frame.reset_index(drop=True), " ".join(limits(used)[:2]).rstrip("."),
                      list(used.values()))


def together(studies: Mapping[str, Results]) -> str:
    """A table of what several methods say together, with one interval for each network and data
    set, pair of regimes and kind of claim; empty where no two methods share enough seeds."""
    rows = _across(studies, *BASELINES)
    if rows.empty:
        return ""
    lines = ["| network, data, scale | methods | seeds | A minus B | points | these methods | "
             "others of their kind |", "|---" * 7 + "|"]
    for row in rows.itertuples():
        other = (f"{row.low_other:+.2f} to {row.high_other:+.2f}"
                 if len(row.methods.split(", ")) >= FEWEST_METHODS else "too few methods")
        lines.append(f"| {row.group} | {row.methods} | {row.seeds} | {row.a} minus {row.b} | "
                     f"{row.mean:+.2f} | {row.low:+.2f} to {row.high:+.2f} | {other} |")
    return "\n".join(lines)


def _across(studies: Mapping[str, Results], *baselines: str) -> pd.DataFrame:
    return across_table(_of_methods(studies), [(a, b) for b in baselines for a in SCRATCH])


def _most_methods(studies: Mapping[str, Results], baseline: str) -> str:
    """What the network and data set on which most methods were tried say together."""
    rows = _across(studies, baseline)
    if rows.empty:
        return ""
    counts = rows["methods"].str.count(",") + 1
    rows = rows[rows["group"] == rows.loc[counts.idxmax(), "group"]]
    said = "; ".join(f"{row.a} ({BUDGETS[row.a]}) {_where(row.mean, row.low, row.high)}"
                     for row in rows.itertuples())
    return (f"Over {counts.max()} methods and {rows['seeds'].iloc[0]} seeds together "
            f"({rows['group'].iloc[0]}): {said}.")


def _where(mean: float, low: float, high: float) -> str:
    """Where new weights end, with an interval at 95 %."""
    if low > 0 or high < 0:
        near, far = sorted((abs(low), abs(high)))
        return (f"ends {abs(mean):.2f} points {'above' if mean > 0 else 'below'} "
                f"(95 % interval {near:.2f} to {far:.2f})")
    return f"cannot be told apart ({mean:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f})"


def sum_of(found: Tally) -> int:
    """How many studies a tally holds."""
    return sum(map(len, found.values()))


def conclusion(tallies: Mapping[str, Tally]) -> str:
    """What the tallies against one baseline come to."""
    favour = any(found["agrees"] for found in tallies.values())
    worse = any(found["disagrees"] for found in tallies.values())
    if favour and not worse:
        return ("The inherited weights are nowhere shown to be worth more than the architecture "
                "that pruning found, which is what the paper says.")
    if worse and not favour:
        return ("Wherever it is decided, the inherited weights are worth more than the "
                "architecture alone, against the paper.")
    if favour:
        return "Which is worth more depends on the study and on the budget."
    return "No comparison is decided: more pairs are needed."


def is_control(results: Results) -> bool:
    """Whether the study is of a control, such as random filters, rather than of a method."""
    return results.settings.get("method") in CONTROLS


def who_agrees(studies: Mapping[str, Results]) -> list[str]:
    """Lines that name the studies which agree with the paper, disagree, and leave it open."""
    says = {"agrees": "agrees with the paper (scratch at least as good)",
            "disagrees": "disagrees (the inherited weights are better)", "open": "not decided"}
    return [f"- {regime} against {regime_title(baseline)}, {says[kind]}: {', '.join(names)}."
            for baseline in BASELINES
            for regime, found in tally(studies, baseline).items()
            for kind, names in found.items() if names]


@lru_cache(maxsize=256)
def guessing(results: Results) -> bool:
    """Whether the fine-tuned networks do hardly better than chance."""
    means = results.summary()["mean"]
    if "finetune" not in means or "classes" not in results.frame:
        return False
    return bool(means["finetune"] < ABOVE_CHANCE * 100 / float(results.frame["classes"].iloc[0]))


def unfinished(results: Results) -> bool:
    """Whether Scratch-B ends above the unpruned network by more than the margin, though training
    that for longer was not shown to gain less."""
    gain = results.longer_gain()
    if gain is not None and gain <= results.margin:
        return False
    means = results.summary()["mean"]
    return (UNPRUNED in means and "scratch-b" in means
            and bool(means["scratch-b"] > means[UNPRUNED] + results.margin))


def limits(studies: Mapping[str, Results]) -> list[str]:
    """What the answer rests on: scales, data, devices and numbers of seeds."""
    frames = [results.frame for results in studies.values()]
    seeds = [frame["seed"].nunique() for frame in frames]
    found = [f"Scales: {_values(studies, 'scale')}. Data: {_values(studies, 'data')}. Devices: "
             f"{_values(studies, 'device')}.", f"Seeds a study: {min(seeds)} to {max(seeds)}."]
    shared = Counter(address for frame in frames
                     for address in frame.loc[frame["regime"] == UNPRUNED, "address"])
    if any(count > 1 for count in shared.values()):
        found.append("Studies of one network on one data set share their unpruned networks, and "
                     "those of equal widths their scratch networks, seed by seed: they are not "
                     "independent of each other, and their number is no measure of evidence.")
    longer = [results for results in studies.values() if "scratch-b" in results.regimes]
    count = sum(map(unfinished, longer))
    if count:
        found.append(f"In {count} of the {len(longer)} studies with Scratch-B it ends above the "
                     "unpruned network by more than the margin: there the large network had not "
                     "finished learning, which leaves little to inherit.")
    if any("quick" in set(frame.get("scale", ())) for frame in frames):
        found.append("Quick studies train slim networks for a few epochs: they show how the "
                     "question is asked and not what holds at the published scale.")
    return found


def _values(studies: Mapping[str, Results], column: str) -> str:
    """What the studies have in a column, by commas."""
    frames = [results.frame for results in studies.values()]
    return ", ".join(sorted({str(value) for frame in frames if column in frame
                             for value in frame[column].dropna()}))


def cautions(studies: Mapping[str, Results]) -> list[str]:
    """What in the studies themselves could explain their outcomes, with the studies it is so in."""
    found: dict[str, list[str]] = {}
    for name, results in studies.items():
        means = results.summary()["mean"]
        if unfinished(results):
            gap = means["scratch-b"] - means[UNPRUNED]
            found.setdefault("Scratch-B ends above the unpruned network (by so many points), which "
                             "had not finished learning: that favours whatever trains for longer",
                             []).append(f"{name} (+{gap:.1f})")
        if UNPRUNED in means and "finetune" in means and (
                means["finetune"] < means[UNPRUNED] - 5 * results.margin):
            gap = means["finetune"] - means[UNPRUNED]
            found.setdefault("Fine-tuning does not make good what the cut destroyed, and ends so "
                             "many points below the unpruned network", []
                             ).append(f"{name} ({gap:.1f})")
        gain = results.longer_gain()
        if gain is not None and gain > results.margin:
            found.setdefault("The unpruned network gains more than the margin (so many points) "
                             "where it is trained for twice as long: it has not converged", []
                             ).append(f"{name} (+{gain:.1f})")
        for note in results.cautions():
            found.setdefault(note.rstrip("."), []).append(name)
    return [f"{reason}: {', '.join(names)}." for reason, names in found.items()]


def results_page(studies: Mapping[str, Results]) -> str:
    """The text of RESULTS.md."""
    linked = {f"[{name}](data/results/{name})": results for name, results in studies.items()}
    return "\n".join([
        "# Results", "", "## Weights or architecture?", "", answer(studies), "",
        *(f"- {line}" for line in limits(studies)), "",
        f"Made by `{COMMAND}` from the recorded results; nothing here was typed by hand.", "",
        *_together_section(studies),
        "## Which studies say what", "", *who_agrees(studies), "",
        "## Every study", "",
        "Test accuracies in percent, mean ±sd over n seeds. E, B: Scratch-E and Scratch-B minus "
        "the baseline, in points, with the verdict over the study's family of comparisons. The "
        "folder of a study has every trial, with its address and where it was run.", "",
        results_table(linked), "", LEGEND, "", "## What to bear in mind", "",
        *(f"- {line}" for line in cautions(studies)), ""])


def _together_section(studies: Mapping[str, Results]) -> list[str]:
    table = together(studies)
    return ["## What the methods say together", "",
            "Studies that share networks seed by seed are no independent witnesses, so each seed "
            "counts once: the mean over the methods of a seed is one value, and the 95 % interval "
            "is that of these values. The last column is wider: it is for other methods of this "
            "kind, as if these had been drawn by chance.", "", table, ""] if table else []


def short_answer(studies: Mapping[str, Results]) -> str:
    """The answer in a line for each way to train inherited weights, and its scope in one more."""
    lines = []
    for baseline, tallies in _answered(studies):
        told = "; ".join(f"{regime}: at least as good in {len(found['agrees'])} of "
                         f"{sum_of(found)}, worse in {len(found['disagrees'])}"
                         for regime, found in tallies.items())
        several = _most_methods(studies, baseline) or f"{told}; else not decided."
        lines.append(f"- **Against {BASELINES[baseline]}:** {conclusion(tallies)} {several}")
    if not lines:
        return answer(studies)
    seeds = [results.frame["seed"].nunique() for results in studies.values()]
    data = _values(studies, "data").replace("folder:", "")
    return "\n".join([
        *lines, f"- **Scope:** {data}; scales {_values(studies, 'scale')}; "
        f"{min(seeds)} to {max(seeds)} seeds; {_values(studies, 'device')}. The "
        "[results](RESULTS.md) name each study and what limits it."])


def with_results(text: str, studies: Mapping[str, Results]) -> str:
    """A page whose part between the marks is the answer in short. Raises ConfigError where the
    marks are missing."""
    if START not in text or END not in text:
        raise ConfigError(f"the page has no line {START!r} and, after it, {END!r}, between which "
                          "the results go.")
    before, _, rest = text.partition(START)
    after = rest.partition(END)[2]
    return "\n".join([before + START, "", short_answer(studies), "", END + after])


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
