"""`prune_and_see`: what a cut takes, and what it costs before any retraining."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import nn

from rethinklab.analysis.weights import ALL
from rethinklab.data import ImageData
from rethinklab.errors import PlanError
from rethinklab.figures.style import (
    TEXT_WIDTH,
    PaperFigure,
    finish,
    palette,
    paper_figure,
    paper_style,
)
from rethinklab.figures.widths import MOST_NAMES
from rethinklab.notebook.widgets.explorer import Explorer, buttons, choice, slider
from rethinklab.pruners import ChannelPruner, Plan, RandomChoice, make_pruner
from rethinklab.pruners.budget import CostModel
from rethinklab.pruners.cutting.layers import usual_layers
from rethinklab.pruners.cutting.probe import survey
from rethinklab.pruners.targets import kept_count
from rethinklab.seeds import generator
from rethinklab.trainers.evaluate import evaluate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RATIOS = tuple(tenths / 10 for tenths in range(10))
IMAGES = 350
WIDTH_SHARE = 0.66  # of the figure that the layers have
LETTER = 0.036  # inches of a layer's name, on the slant


@dataclass(frozen=True)
class Outcome:
    """A cut that was made. before, after: channels by layer. params, macs: of the whole network
    before and after. accuracy: before and right after, fractions."""

    before: Mapping[str, int]
    after: Mapping[str, int]
    params: tuple[int, int]
    macs: tuple[int, int]
    accuracy: tuple[float, float]


def prune_and_see(model: nn.Module, data: ImageData, methods: Sequence[str] = ("l1", "random"),
                  ratios: Sequence[float] = RATIOS, images: int = IMAGES) -> Explorer:
    """Choose a method, a layer and the share of its filters to remove: widths, multiply-adds and
    parameters that are left, and the accuracy right after the cut.

    model: trained. data: a task whose test part is held-out training images, as from
    `data.hold_out(0.1)`, because what is seen here guides choices; the accuracy is of `images` of
    them. methods: names of pruners that remove channels; those that only score filters, and
    random, answer at once. ratios: shares to remove.
    """
    few = data.subset(test=min(images, len(data.test)))
    cutter = Cutter(model, few)
    label = f"Data {data.name}, {len(few.test)} images of its test part"

    def view(method: str, layer: str, ratio: float) -> PaperFigure:
        return pruned_figure(cutter.cut(method, layer, ratio), method, layer, ratio,
                             data.num_classes, label)

    places = {"all of them": ALL} | {f"{name} ({width} filters)": name
                                     for name, width in cutter.widths.items()}
    shown = {f"{100 * ratio:g} %": ratio for ratio in ratios}
    middle = list(ratios)[len(ratios) // 2]
    return Explorer(view, {"method": buttons("Method", list(methods)),
                           "layer": choice("Layers to prune", places),
                           "ratio": slider("Filters to remove", shown, middle, costly=True)})


class Cutter:
    """Makes cuts of one network and measures them; what they have in common is done once."""

    def __init__(self, model: nn.Module, data: ImageData) -> None:
        self.model, self.data = model, data
        found = {name: layer.width for name, layer
                 in survey(model, data.input_shape).prunable.items()}
        self.widths = usual_layers(model, found)
        self.cost = CostModel(model, data.input_shape, self.widths)
        self.accuracy = evaluate(model, data)[0]

    def cut(self, method: str, layer: str, ratio: float) -> Outcome:
        """Remove that share of the filters of a layer, or of every layer, which keeps one at
        least. Raises PlanError where the method cannot."""
        full = self.cost({})
        params, macs, accuracy = full["params"], full["macs"], self.accuracy
        after = self.widths
        if ratio > 0:
            plan = self.plan(method, layer, ratio)
            after = {name: plan.kept_widths.get(name, width)
                     for name, width in self.widths.items()}
            if plan.after is None:
                left = self.cost(after)
                params, macs = left["params"], left["macs"]
                network = plan.silence(self.model)  # quicker to make than the small network
            else:
                params, macs = plan.after.params, plan.after.macs
                network = plan.apply(self.model)
            accuracy = evaluate(network, self.data)[0]
        return Outcome(self.widths, after, (full["params"], params), (full["macs"], macs),
                       (self.accuracy, accuracy))

    def plan(self, method: str, layer: str, ratio: float) -> Plan:
        """What the method keeps. Of methods that only score filters, and of the random control,
        the plan is not carried out, and has no costs: that takes longest."""
        chosen = self.widths if layer == ALL else {layer: self.widths[layer]}
        ratios = {name: min(ratio, 1 - 1 / width) for name, width in chosen.items()}
        counts = {name: kept_count(ratios[name], width, name) for name, width in chosen.items()}
        whole = layer == ALL and set(ratios.values()) == {ratio}
        pruner = make_pruner(method, ratio if whole else ratios)
        if isinstance(pruner, RandomChoice):
            keep = {name: _drawn(pruner.seed, name, count, chosen[name])
                    for name, count in counts.items()}
        elif isinstance(pruner, ChannelPruner) and type(pruner).fit is ChannelPruner.fit:
            keep = {name: pruner.select(name, self.model.get_submodule(name), count)
                    for name, count in counts.items()}
        else:
            plan = pruner.fit(self.model, self.data)
            if not plan.keep:
                raise PlanError(f"{method} removes no filters, whose number this picture is of; "
                                "choose a method that does, such as l1.")
            return plan
        return Plan(method, pruner.target, self.data.input_shape, dict(chosen), keep)


def _drawn(seed: int, name: str, count: int, width: int) -> tuple[int, ...]:
    """As `pruners.controls.RandomChoice` draws."""
    order = torch.randperm(width, generator=generator(seed, "random", name))
    return tuple(sorted(order[:count].tolist()))


def pruned_figure(outcome: Outcome, method: str, layer: str, ratio: float, classes: int,
                  label: str = "") -> PaperFigure:
    """The widths of all layers before and after a cut, and how much of parameters, multiply-adds
    and accuracy is left; the accuracy of guessing among `classes` is marked."""
    numbers = pd.DataFrame({"layer": list(outcome.before), "before": outcome.before.values(),
                            "after": [outcome.after[name] for name in outcome.before]})
    rows = {"Parameters": (100.0, 100 * outcome.params[1] / outcome.params[0]),
            "MACs": (100.0, 100 * outcome.macs[1] / outcome.macs[0]),
            "Accuracy": (100 * outcome.accuracy[0], 100 * outcome.accuracy[1])}
    with paper_style():
        figure = paper_figure(TEXT_WIDTH, 2.1)
        left, right = figure.subplots(1, 2)
        _draw_widths(left, numbers)
        _draw_shares(right, rows, 100 / classes)
        finish(figure, numbers.assign(accuracy=outcome.accuracy[1]),
               caption(outcome, method, layer, ratio), label,
               "Numbers over the bars: filters that stay. Accuracy: right after the cut, without "
               "retraining. Dotted: guessing. A layer keeps one filter at least.")
        _place(figure, left, right, max(map(len, outcome.before)))
        return figure


def caption(outcome: Outcome, method: str, layer: str, ratio: float) -> str:
    """What the figure shows, in a sentence made from its numbers."""
    where = "every layer" if layer == ALL else layer
    params, macs = (after / before for before, after in (outcome.params, outcome.macs))
    whole, cut = outcome.accuracy
    return (f"{method} removes {100 * ratio:g} % of the filters of {where}: "
            f"{sum(outcome.after.values()):,} of {sum(outcome.before.values()):,} are left, "
            f"{params:.1%} of the parameters and {macs:.1%} of the MACs; accuracy {cut:.1%} right "
            f"after the cut, {whole:.1%} before.")


def _draw_widths(axes: Axes, numbers: pd.DataFrame) -> None:
    places = range(len(numbers))
    axes.bar(places, numbers["before"], 0.8, color="white", edgecolor="0.5", linewidth=0.7,
             label="before")
    axes.bar(places, numbers["after"], 0.8, color=palette()[0], label="after")
    counted = len(numbers) <= MOST_NAMES
    if counted:
        for place, after, before in zip(places, numbers["after"], numbers["before"], strict=True):
            axes.annotate(str(after), (place, before), (0, 1.5), textcoords="offset points",
                          ha="center", fontsize=7)
    step = -(-len(numbers) // MOST_NAMES)
    axes.set_xticks(list(places)[::step], numbers["layer"][::step], rotation=45, ha="right",
                    rotation_mode="anchor", fontsize=7)
    axes.set_xlim(-0.6, len(numbers) - 0.4)
    axes.set_ylim(0, 1.1 * numbers["before"].max())
    axes.set_ylabel("Filters")
    axes.legend(loc="upper left")
    axes.tick_params(axis="y", left=not counted, labelleft=not counted)
    axes.tick_params(axis="x", length=0)


def _draw_shares(axes: Axes, rows: Mapping[str, tuple[float, float]], chance: float) -> None:
    places = list(range(len(rows)))
    before, after = zip(*rows.values(), strict=True)
    axes.barh(places, before, 0.6, color="white", edgecolor="0.5", linewidth=0.7)
    axes.barh(places, after, 0.6, color=palette()[0])
    for place, most, left in zip(places, before, after, strict=True):
        axes.annotate(f"{left:.1f}", (max(most, left), place), (3, 0),
                      textcoords="offset points", va="center", fontsize=8)
    axes.plot([chance, chance], [places[-1] - 0.42, places[-1] + 0.42], ":", color="0.1")
    axes.set_yticks(places, list(rows), fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 125)
    axes.set_xticks([0, 50, 100])
    axes.set_xlabel("Left (%)")
    axes.tick_params(axis="y", length=0)


def _place(figure: PaperFigure, left: Axes, right: Axes, letters: int) -> None:
    """Put the axes where `finish` left room. A layout engine would find the same places in a
    third of the time that a reader waits for the picture."""
    width, height = figure.get_size_inches()
    foot = figure.get_layout_engine().get()["rect"][1]  # type: ignore[union-attr]
    figure.set_layout_engine("none")
    bottom = foot + max(0.42, 0.12 + LETTER * letters) / height
    top = 1 - 0.08 / height
    left.set_position((0.48 / width, bottom, WIDTH_SHARE - 0.48 / width, top - bottom))
    start = WIDTH_SHARE + 0.8 / width
    right.set_position((start, bottom, 0.99 - start, top - bottom))
