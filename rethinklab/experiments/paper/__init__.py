"""The rows of the paper as presets, METHOD-NETWORK-DATASET[-TARGET], at any scale.

`preset(name, scale)` gives the arguments of `Study`, `published(name)` what the paper prints, and
`overview(own)` all rows with both beside one another. The detection study is left out: the kit
has no detector.
"""

from rethinklab.experiments.paper.choice import expand, find, group, groups, preset
from rethinklab.experiments.paper.published import LEGEND, published
from rethinklab.experiments.paper.rows import PRESETS, Preset
from rethinklab.experiments.paper.show import beside, describe, overview, overview_text

__all__ = ["LEGEND", "PRESETS", "Preset", "beside", "describe", "expand", "find", "group",
           "groups", "overview", "overview_text", "preset", "published"]
