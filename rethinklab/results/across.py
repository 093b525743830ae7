"""What several methods say together on one network and data set: not study by study, since studies
that share their networks are not independent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from rethinklab.analysis.across import across_methods
from rethinklab.results.groups import grouped
from rethinklab.results.results import Results
from rethinklab.trainers.regimes import regime_title

FEWEST_SEEDS = 3
COLUMNS = ("group", "a", "b", "methods", "seeds", "mean", "low", "high", "low_other", "high_other")


def across_table(studies: Mapping[str, Results],
                 pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """A row for each group of studies that differ in method and target alone, and each pair of
    regimes (a, b) that two or more of its methods have on three or more common seeds.

    group: network, data and scale, in words; a, b: titles of the regimes; methods: their names, by
    commas; seeds: how many in common; mean, low, high, low_other, high_other: of the accuracies of
    a minus b, in points, as `across_methods` has them. Of studies with the same accuracies, such as
    of one plan by two names, the first alone counts, and several of one method, such as at several
    targets, count as one, by their mean.
    """
    groups = grouped(studies, free=("method", "options"))
    words = {slug: _in_words(studies[names[0]]) or slug for slug, names in groups.items()}
    alike = {said for said, count in Counter(words.values()).items() if count > 1}
    rows = []
    for slug, names in groups.items():
        group = f"{words[slug]} ({slug})" if words[slug] in alike else words[slug]
        for a, b in pairs:
            found = _differences([studies[name] for name in names], a, b)
            table = pd.DataFrame(found).T.dropna(axis=1)
            if min(table.shape) < 2 or table.shape[1] < FEWEST_SEEDS:
                continue
            c = across_methods(table.to_numpy())
            rows.append((group, regime_title(a), regime_title(b), ", ".join(table.index), c.seeds,
                         c.mean, c.low, c.high, c.low_other, c.high_other))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _in_words(results: Results) -> str:
    """Network, data and scale of a study, such as "vgg11 on digits, classroom scale"."""
    known, frame = results.settings, results.frame
    if not {"model", "scale"} <= set(known) or "data" not in frame:
        return ""
    return (f"{known['model']} on {str(frame['data'].iloc[0]).removeprefix('folder:')}, "
            f"{known['scale']} scale")


def _differences(studies: Sequence[Results], a: str, b: str) -> dict[str, pd.Series]:
    """By method: a minus b in points by seed."""
    found: dict[str, list[pd.Series]] = {}
    for results in studies:
        if not {a, b} <= set(results.regimes):
            continue
        method = str(results.settings.get("method", results.name))
        gap = (results.accuracies(a) - results.accuracies(b)).dropna()
        if not any(gap.equals(other) for others in found.values() for other in others):
            found.setdefault(method, []).append(gap)
    return {method: pd.concat(gaps, axis=1).dropna().mean(axis=1)
            for method, gaps in found.items()}
