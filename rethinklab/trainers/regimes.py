"""The ways to train a pruned network: what it starts from, and with which budget.

A regime is called by name. Those that retrain inherited weights take a share of the large
network's epochs behind it: "finetune:0.5" fine-tunes for half as many. Two regimes train the
unpruned network itself, for what the others are held against.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from rethinklab.errors import ConfigError, unknown_name
from rethinklab.trainers.recipe import Recipe

Budget = Callable[[Recipe, float, "float | None"], "Recipe | None"]


@dataclass(frozen=True)
class Regime:
    """start: from the "inherited" weights of the pruned network, "new" ones, the large network's
    "initial" ones, or those that it had when the schedule was where this regime enters it
    ("rewound"); or, where the unpruned network itself is trained, from "untrained" or its "trained"
    weights. rule: from the recipe of the large network, the ratio of FLOPs, large over pruned,
    and the share of epochs, to the recipe of this regime; None trains nothing. share: of the
    large network's epochs that the regime lasts, where it takes a share. enters: whether it goes
    through the last `share` of the schedule only, rather than through all of its own recipe."""

    start: str
    rule: Budget
    title: str
    meaning: str
    share: float | None = None
    takes_share: bool = False
    enters: bool = False

    @property
    def prunes(self) -> bool:
        """Whether it trains what pruning left, and not the unpruned network itself."""
        return self.start not in ("untrained", "trained")

    def budget(self, recipe: Recipe, ratio: float) -> Recipe | None:
        """The recipe of this regime, from that of the large network and the ratio of FLOPs, large
        over pruned; None where nothing is trained. Raises ConfigError where the ratio matters and
        is below 1."""
        return self.rule(recipe, ratio, self.share)

    def first_epoch(self, recipe: Recipe) -> int:
        """The epoch of its recipe, counted from 0, with which the regime begins."""
        return recipe.epochs - share_epochs(recipe, self.share) if self.enters else 0


def share_epochs(recipe: Recipe, share: float | None) -> int:
    """Epochs of retraining: the share, or else the recipe's fine-tuning (40 of 160)."""
    if share is None:
        return recipe.finetune_epochs or max(1, round(recipe.epochs / 4))
    return max(1, round(recipe.epochs * share))


def nothing(recipe: Recipe, ratio: float, share: float | None) -> None:
    """The pruned network as it is."""


def finetune(recipe: Recipe, ratio: float, share: float | None) -> Recipe:
    """At the schedule's last learning rate, held constant. Source: Liu et al. (ICLR 2019)."""
    return _retrain(recipe, share, lr=recipe.last_lr, milestones=(), step=None, shape="steps",
                    warmup=0.0)


def restart(recipe: Recipe, ratio: float, share: float | None) -> Recipe:
    """The whole schedule from its large rate on, squeezed into the epochs of retraining.

    Source: Le & Hua (ICLR 2021), scaled learning-rate restarting.
    """
    return _retrain(recipe, share)


def one_cycle(recipe: Recipe, ratio: float, share: float | None) -> Recipe:
    """Up to the schedule's large rate in a tenth of the epochs, then down by a cosine.

    Source: Le & Hua (ICLR 2021), cyclic learning-rate restarting.
    """
    return _retrain(recipe, share, milestones=(), step=None, shape="cosine", warmup=0.1)


def linear(recipe: Recipe, ratio: float, share: float | None) -> Recipe:
    """From the schedule's large rate to almost zero in a line.

    Source: Zimmer, Spiegel & Pokutta (2021, arXiv 2111.00843), linear learning-rate restarting.
    """
    return _retrain(recipe, share, milestones=(), step=None, shape="linear", warmup=0.0)


def _retrain(recipe: Recipe, share: float | None, **changes: Any) -> Recipe:
    epochs = share_epochs(recipe, share)
    return replace(recipe, epochs=epochs, finetune_epochs=None, counted_epochs=None, **changes)


def same_epochs(recipe: Recipe, ratio: float, share: float | None) -> Recipe:
    """Scratch-E: as many epochs as the large network had."""
    return recipe


def same_computation(recipe: Recipe, ratio: float, share: float | None) -> Recipe:
    """Scratch-B: int(epochs * ratio) epochs, so that both spend the same FLOPs; no upper limit.

    The milestones stretch with it. Source: Liu et al. (ICLR 2019), section 3.
    """
    counted = recipe.counted_epochs or recipe.epochs
    longer = replace(recipe, epochs=int(counted * _checked(ratio)), counted_epochs=None)
    if counted == recipe.epochs:
        return longer
    # The released code stretches the milestones of the training itself, not of what it counts.
    stretched = recipe.epochs * ratio / longer.epochs
    return replace(longer, milestones=tuple(m * stretched for m in recipe.milestones))


def same_computation_capped(recipe: Recipe, ratio: float, share: float | None) -> Recipe:
    """Scratch-B with at most twice the epochs, the study's rule for ImageNet."""
    return same_computation(recipe, min(ratio, 2.0), share)


def same_computation_in_all(recipe: Recipe, ratio: float, share: float | None) -> Recipe:
    """Scratch-B that counts the fine-tuning: (K1 F_large + K2 F_small) / F_small epochs.

    Source: Wang et al. (2023, arXiv 2301.05219), who call equal total FLOPs SX-B.
    """
    counted = recipe.counted_epochs or recipe.epochs
    epochs = int(counted * _checked(ratio) + share_epochs(recipe, None))
    return replace(recipe, epochs=epochs, counted_epochs=None)


def same_epochs_in_all(recipe: Recipe, ratio: float, share: float | None) -> Recipe:
    """As many epochs as large network and fine-tuning had together: SX-A of Wang et al. (2023)."""
    return replace(recipe, epochs=recipe.epochs + share_epochs(recipe, None), counted_epochs=None)


def twice_the_epochs(recipe: Recipe, ratio: float, share: float | None) -> Recipe:
    """The schedule stretched to twice its length: the milestones are shares of it."""
    return recipe.changed(epochs=2 * recipe.epochs)


def _checked(ratio: float) -> float:
    if not 1 <= ratio < float("inf"):
        raise ConfigError(f"a FLOPs ratio, large over pruned, of {ratio} must be 1 or more.")
    return ratio


QUARTER = "a quarter of the epochs"
REGIMES = {
    "pruned": Regime("inherited", nothing, "Pruned",
                     "inherited weights, no training after the cut"),
    "finetune": Regime("inherited", finetune, "Fine-tuned",
                       f"inherited weights, {QUARTER} at the last learning rate",
                       takes_share=True),
    "lr-rewind": Regime("inherited", same_epochs, "LR rewinding",
                        "inherited weights, the large network's schedule once more, or the last "
                        "share of it (Renda et al. 2020)", 1.0, True, True),
    "weight-rewind": Regime("rewound", same_epochs, "Weight rewinding",
                            "weights as they were after a tenth of the large network's training, "
                            "and the rest of its schedule (Renda et al. 2020)", 0.9, True, True),
    "one-cycle": Regime("inherited", one_cycle, "One-cycle",
                        f"inherited weights, {QUARTER}: up to the large rate and down by a cosine",
                        takes_share=True),
    "restart": Regime("inherited", restart, "LR restart",
                      f"inherited weights, the whole schedule squeezed into {QUARTER}",
                      takes_share=True),
    "linear": Regime("inherited", linear, "Linear",
                     f"inherited weights, {QUARTER}: from the large rate to almost zero in a line",
                     takes_share=True),
    "scratch-e": Regime("new", same_epochs, "Scratch-E",
                        "new weights, as many epochs as the large network"),
    "scratch-b": Regime("new", same_computation, "Scratch-B",
                        "new weights, as much computation as the large network"),
    "scratch-b-capped": Regime("new", same_computation_capped, "Scratch-B, capped",
                               "Scratch-B with at most twice the epochs (the ImageNet rule)"),
    "scratch-b-full": Regime("new", same_computation_in_all, "Scratch-B, full",
                             "new weights, as much computation as large network and fine-tuning "
                             "together (SX-B)"),
    "sx-a": Regime("new", same_epochs_in_all, "SX-A",
                   "new weights, as many epochs as large network and fine-tuning together"),
    "ticket": Regime("initial", same_epochs, "Winning ticket",
                     "the large network's own weights before training (or where the plan rewinds "
                     "to), pruned, and the rest of its epochs"),
    "unpruned-longer": Regime("untrained", twice_the_epochs, "Unpruned, longer",
                              "the unpruned network, trained from its start for twice the epochs: "
                              "has it converged?"),
    "unpruned-rewind": Regime("trained", same_epochs, "Unpruned, rewound",
                              "the unpruned network, trained on by its whole schedule once more: "
                              "the control of lr-rewind"),
}
UNPRUNED = "unpruned"
ALIASES = {"sx-b": "scratch-b-full", "large-rate-restart": "restart"}


def find_regime(name: str) -> Regime:
    """The regime called `name`, a share behind a colon included.

    Raises ConfigError with the nearest match, or for a share that it cannot have.
    """
    base, colon, text = str(name).partition(":")
    base = ALIASES.get(base, base)
    if base not in REGIMES:
        raise unknown_name("regime", name, [*REGIMES, *ALIASES])
    known = REGIMES[base]
    if not colon:
        return known
    if not known.takes_share:
        raise ConfigError(f"regime {base!r} takes no share, but {text!r} was given.")
    try:
        share = float(text)
    except ValueError:
        share = float("nan")
    if not 0 < share <= (1 if known.enters else 100):
        allowed = "at most 1, of the schedule" if known.enters else "for example 0.5"
        raise ConfigError(f"share {text!r} of regime {name!r} must be a number above 0, {allowed}.")
    title = known.title if share == known.share else f"{known.title} ({share:g})"
    return replace(known, share=share, title=title)


def settle_regime(name: str) -> str:
    """`name` in its one form, so that a regime is never run under two names.

    Raises ConfigError as `find_regime` does.
    """
    regime = find_regime(name)
    base = str(name).partition(":")[0]
    base = ALIASES.get(base, base)
    return base if regime.share == REGIMES[base].share else f"{base}:{regime.share:g}"


def prunes(name: str) -> bool:
    """Whether the regime is of a pruned network: neither "unpruned" nor one that trains that on or
    for longer. Raises ConfigError as `find_regime` does."""
    return name != UNPRUNED and find_regime(name).prunes


def regime_title(name: str) -> str:
    """How a table or figure calls the regime; the large network counts as one."""
    return "Unpruned" if name == UNPRUNED else find_regime(name).title


def regime_order(name: str) -> tuple[int, int, float]:
    """Where tables and figures put the regime: the unpruned networks first, shares ascending."""
    if name == UNPRUNED:
        return 0, 0, 0.0
    regime = find_regime(name)
    place = 1 + list(REGIMES).index(settle_regime(name).partition(":")[0])
    return int(regime.prunes), place, regime.share or 0.0
