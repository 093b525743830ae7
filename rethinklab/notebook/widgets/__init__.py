"""Pictures under controls: `widgets.prune_and_see(model, data)` and its like end a cell.

Each works without a kernel too, as the picture that it showed when the cell was run.
"""

from __future__ import annotations

from rethinklab.notebook.widgets.budgets import budget_explorer
from rethinklab.notebook.widgets.channels import channel_pictures
from rethinklab.notebook.widgets.explorer import Explorer
from rethinklab.notebook.widgets.histograms import weight_histograms
from rethinklab.notebook.widgets.patterns import architecture_patterns
from rethinklab.notebook.widgets.prune_and_see import prune_and_see

__all__ = ["Explorer", "architecture_patterns", "budget_explorer", "channel_pictures",
           "prune_and_see", "weight_histograms"]
