"""The ways to train a pruned network: what it starts from, and with which budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from rethinklab.errors import ConfigError, unknown_name
from rethinklab.trainers.recipe import Recipe


@dataclass(frozen=True)
class Regime:
    """start: from the "inherited" weights of the pruned network, "new" ones, or the large network's
    "initial" ones. budget: from the recipe of the large network and the ratio of FLOPs, large over
    pruned, to the recipe of this regime; None trains nothing."""

    start: str
    budget: Callable[[Recipe, float], Recipe | None]
    title: str
    meaning: str


def finetune(recipe: Recipe, ratio: float) -> Recipe:
    """A quarter of the epochs (40 of 160) at the schedule's last learning rate, held constant."""
    epochs = recipe.finetune_epochs or max(1, round(recipe.epochs / 4))
    return replace(recipe, epochs=epochs, lr=recipe.last_lr, milestones=(), step=None)


def nothing(recipe: Recipe, ratio: float) -> None:
    """The pruned network as it is."""


def same_epochs(recipe: Recipe, ratio: float) -> Recipe:
    """Scratch-E: as many epochs as the large network had."""
    return recipe


def same_computation(recipe: Recipe, ratio: float) -> Recipe:
    """Scratch-B: int(epochs * ratio) epochs, so that both spend the same FLOPs; no upper limit.

    The milestones stretch with it. Source: Liu et al. (ICLR 2019), section 3.
    """
    if not 1 <= ratio < float("inf"):
        raise ConfigError(f"a FLOPs ratio, large over pruned, of {ratio} must be 1 or more.")
    return replace(recipe, epochs=int(recipe.epochs * ratio))


def same_computation_capped(recipe: Recipe, ratio: float) -> Recipe:
    """Scratch-B with at most twice the epochs, the study's rule for ImageNet."""
    return same_computation(recipe, min(ratio, 2.0))


REGIMES = {
    "pruned": Regime("inherited", nothing, "Pruned",
                     "inherited weights, no training after the cut"),
    "finetune": Regime("inherited", finetune, "Fine-tuned",
                       "inherited weights, a quarter of the epochs at the last learning rate"),
    "scratch-e": Regime("new", same_epochs, "Scratch-E",
                        "new weights, as many epochs as the large network"),
    "scratch-b": Regime("new", same_computation, "Scratch-B",
                        "new weights, as much computation as the large network"),
    "scratch-b-capped": Regime("new", same_computation_capped, "Scratch-B, capped",
                               "Scratch-B with at most twice the epochs (the ImageNet rule)"),
    "ticket": Regime("initial", same_epochs, "Winning ticket",
                     "the large network's own weights before training (or where the plan rewinds "
                     "to), pruned, and the rest of its epochs"),
}
UNPRUNED = "unpruned"


def find_regime(name: str) -> Regime:
    """The regime called `name`. Raises ConfigError with the nearest match."""
    if name not in REGIMES:
        raise unknown_name("regime", name, REGIMES)
    return REGIMES[name]


def regime_title(name: str) -> str:
    """How a table or figure calls the regime; the large network counts as one."""
    return "Unpruned" if name == UNPRUNED else find_regime(name).title
