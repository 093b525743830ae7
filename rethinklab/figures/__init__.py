"""The figures: each a pure function from results to a matplotlib figure, and the exporter."""

from __future__ import annotations

from rethinklab.figures.accuracy_budget import accuracy_budget
from rethinklab.figures.accuracy_ratio import accuracy_ratio
from rethinklab.figures.barrier import barrier
from rethinklab.figures.catalogue import FIGURES, FigureKind, find_figure
from rethinklab.figures.differences import differences
from rethinklab.figures.efficiency import efficiency
from rethinklab.figures.export import export
from rethinklab.figures.families import families
from rethinklab.figures.forest import forest
from rethinklab.figures.histograms import weight_layers, weights
from rethinklab.figures.kept import kept
from rethinklab.figures.kernels import kernels
from rethinklab.figures.latency import latency
from rethinklab.figures.layer_costs import layer_costs
from rethinklab.figures.layer_errors import layer_errors
from rethinklab.figures.layer_widths import layer_widths
from rethinklab.figures.learning_curves import learning_curves
from rethinklab.figures.lottery import lottery
from rethinklab.figures.movement import movement
from rethinklab.figures.overlap import overlap
from rethinklab.figures.pipeline import pipeline
from rethinklab.figures.recovery import recovery
from rethinklab.figures.regimes import regimes
from rethinklab.figures.samples import samples
from rethinklab.figures.scale_paths import scale_paths
from rethinklab.figures.scales import scales
from rethinklab.figures.schedules import schedules
from rethinklab.figures.scores import scores
from rethinklab.figures.sensitivity import sensitivity
from rethinklab.figures.stage_ratios import stage_ratios
from rethinklab.figures.style import VENUES, PaperFigure, paper_style
from rethinklab.figures.surgery import surgery
from rethinklab.figures.targets import targets
from rethinklab.figures.widths import widths

__all__ = ["FIGURES", "VENUES", "FigureKind", "PaperFigure", "accuracy_budget", "accuracy_ratio",
           "barrier", "differences", "efficiency", "export", "families", "find_figure", "forest",
           "kept", "kernels", "latency", "layer_costs", "layer_errors", "layer_widths",
           "learning_curves", "lottery", "movement", "overlap", "paper_style", "pipeline",
           "recovery", "regimes", "samples", "scale_paths", "scales", "schedules", "scores",
           "sensitivity", "stage_ratios", "surgery", "targets", "weight_layers", "weights",
           "widths"]
