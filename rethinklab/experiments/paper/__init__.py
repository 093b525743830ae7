"""The rows of the paper as presets, METHOD-NETWORK-DATASET[-TARGET], at any scale.

`preset(name, scale)` gives the arguments of `Study`, `published(name)` what the paper prints;
`rethinklab.results.beside_paper` puts own results beside that. The detection study is left out: the
kit has no detector.
"""

from rethinklab.experiments.paper.choice import expand, find, group, groups, preset
from rethinklab.experiments.paper.published import LEGEND, published
from rethinklab.experiments.paper.rows import PRESETS, Preset

__all__ = ["LEGEND", "PRESETS", "Preset", "expand", "find", "group", "groups", "preset",
           "published"]
