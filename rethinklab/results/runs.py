"""What runs leave: histories of training, and measurements on the networks that were trained."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pandas as pd
import torch
from torch import Tensor, nn

from rethinklab.analysis.connectivity import interpolate, normalisations
from rethinklab.analysis.connectivity import reestimate as renew_statistics
from rethinklab.analysis.cost import profile
from rethinklab.analysis.thin import thin
from rethinklab.data.batches import calibration_batch
from rethinklab.devices import pick_device
from rethinklab.errors import DataError, Missing, PlanError
from rethinklab.experiments.stages import provenance
from rethinklab.pruners.cutting.probe import survey
from rethinklab.pruners.sensitivity import RATIOS, sensitivity
from rethinklab.pruners.targets import kept_count
from rethinklab.results.files import labelled
from rethinklab.results.stored import StoredStudy
from rethinklab.trainers.evaluate import evaluate
from rethinklab.trainers.regimes import UNPRUNED, prunes, regime_title

HISTORY = ["regime", "seed", "epoch", "train_loss", "test_accuracy", "lr"]
HISTORY_ROWS = 2000  # that a table is kept to, by leaving out epochs
SCAN_IMAGES, SCAN_LAYERS = 500, 16
ALPHAS = tuple(step / 10 for step in range(11))
MOST_SEEDS = 3  # of which networks are measured
TEST_IMAGES, STATISTICS_IMAGES, STATISTICS_BATCH = 1000, 500, 125
WORK = {"cpu": 3e11, "cuda": 3e14}  # multiply-adds for a table; above it fewer images are looked at
FEWEST_IMAGES = 100
BATCHES = (1, 64)


def gather_histories(stored: StoredStudy) -> pd.DataFrame:
    """Every training of the study, epoch by epoch: regime, seed, epoch (counted from 1 in each
    training, wherever in its schedule it began), train_loss, test_accuracy (a fraction), lr.

    Of long trainings every k-th epoch and the last, where the table would be large.
    """
    frame = stored.frame
    parts = []
    for regime, seed in frame.loc[frame["epochs"] > 0, ["regime", "seed"]].itertuples(index=False):
        history = stored.history(regime, int(seed))
        parts.append(history.assign(regime=regime, seed=int(seed),
                                    epoch=range(1, len(history) + 1)))
    if not parts:
        raise Missing(f"no network of {stored.name} was trained; run the study with a regime that "
                      "trains, such as finetune.")
    step = -(-sum(map(len, parts)) // HISTORY_ROWS)
    thinned = [part[((part["epoch"] - 1) % step == 0) | (part["epoch"] == len(part))]
               for part in parts]
    return labelled(pd.concat(thinned, ignore_index=True)[HISTORY], stored.label,
                    f"every {step} epochs" if step > 1 else "")


def gather_sensitivity(stored: StoredStudy) -> pd.DataFrame:
    """Accuracy of the first seed's unpruned network with one layer at a time pruned: layer,
    ratio, accuracy (a fraction).

    On training images, since ratios are chosen by such a scan; the network was trained on all of
    them, so they are ones that it has seen, which the label says. At most 16 layers, spread
    evenly. A ratio that would empty a layer is left out.
    """
    seed = stored.seeds(UNPRUNED)[0]
    device, data = pick_device(), stored.data
    model = stored.network(UNPRUNED, seed).to(device)
    try:
        prunable = survey(model, data.input_shape).prunable
        layers = [name for name in prunable
                  if isinstance(model.get_submodule(name), nn.Conv2d)]
        if not layers:
            raise Missing(f"the network of {stored.name} has no convolution that can be pruned.")
        layers = thin(layers, SCAN_LAYERS)
        work = len(layers) * len(RATIOS) * SCAN_IMAGES * _macs(stored, UNPRUNED)
        count = _count(SCAN_IMAGES * affordable(work, device), len(data.train))
        fraction = min(0.9, count / len(data.train))
        parts = []
        for width in dict.fromkeys(prunable[name].width for name in layers):
            same = [name for name in layers if prunable[name].width == width]
            ratios = [ratio for ratio in RATIOS if leaves_some(ratio, width)]
            parts.append(sensitivity(model, data, ratios, same, fraction=fraction))
        count = len(data.hold_out(fraction).test)
    except (DataError, PlanError) as error:
        raise Missing(f"{stored.name} cannot be scanned: {error}") from error
    frame = pd.concat(parts, ignore_index=True)
    frame = frame.sort_values("layer", key=lambda names: names.map(layers.index), kind="stable",
                              ignore_index=True)
    return labelled(frame, stored.label,
                    f"network of seed {seed}, on {count:,} training images, "
                    "which the network has seen; no retraining")


def leaves_some(ratio: float, width: int) -> bool:
    """Whether a layer of that width has a filter left without that share of them."""
    try:
        return kept_count(ratio, width, "") > 0
    except PlanError:
        return False


def gather_barrier(stored: StoredStudy, reestimate: bool = True) -> pd.DataFrame:
    """Loss and error on test images along the straight line between two trained networks: pair
    (of titles), seed (of the first network), alpha (0 the first, 1 the second), loss, error (a
    fraction).

    Pairs: within a seed, the first regime that trains (fine-tuned, usually) against each other
    one; between a seed and the next, that regime itself, where both seeds have one architecture.
    Channels are not aligned. reestimate: take the statistics of batch normalisation from training
    images at every place, the ends included; else they are interpolated like weights. Up to three
    seeds, and fewer images for large networks.
    """
    lines = list(_lines(stored))
    if not lines:
        raise Missing(f"{stored.name} has no two trained networks of one architecture; run the "
                      "study with two regimes that train, such as finetune and scratch-e.")
    device, data = pick_device(), stored.data
    macs = max(_macs(stored, end[0]) for _, *ends in lines for end in ends)
    share = affordable(len(lines) * len(ALPHAS) * macs * (TEST_IMAGES + STATISTICS_IMAGES), device)
    tested = data.subset(test=_count(TEST_IMAGES * share, len(data.test)))
    images = calibration_batch(data, _count(STATISTICS_IMAGES * share, len(data.train)))[0]
    batches = [part.to(device) for part in _parts(images)]
    tested, model, rows = tested.to(device), None, []
    for pair, first, second in lines:
        model = stored.network(*first).to(device)
        one, other = stored.state(*first), stored.state(*second)
        for alpha in ALPHAS:
            model.load_state_dict(interpolate(one, other, alpha))
            if reestimate:
                renew_statistics(model, batches)
            accuracy, loss = evaluate(model, tested)
            rows.append({"pair": pair, "seed": first[1], "alpha": alpha, "loss": loss,
                         "error": 1 - accuracy})
    assert model is not None  # there are lines
    done = ("no batch normalisation" if not normalisations(model) else
            f"batch normalisation re-estimated on {len(images):,} training images at every place"
            if reestimate else "statistics of batch normalisation interpolated, not re-estimated")
    return labelled(pd.DataFrame(rows), stored.label,
                    f"{len(tested.test):,} test images; {done}; channels not aligned")


def affordable(work: float, device: torch.device) -> float:
    """The share of so many multiply-adds that a table is worth, at most 1."""
    return min(1.0, WORK.get(device.type, WORK["cpu"]) / work)


def _count(wanted: float, there: int) -> int:
    return min(there, max(FEWEST_IMAGES, int(wanted)))


def _macs(stored: StoredStudy, regime: str) -> float:
    frame = stored.frame
    return float(frame.loc[frame["regime"] == regime, "macs"].max())


def _parts(images: Tensor) -> list[Tensor]:
    """Batches of about 125 images, none of a single one."""
    return list(images.tensor_split(-(-len(images) // STATISTICS_BATCH)))


def _lines(stored: StoredStudy) -> Iterator[tuple[str, tuple[str, int], tuple[str, int]]]:
    """(name of the pair, first network, second network) by (regime, seed)."""
    trained = [r for r in stored.regimes if prunes(r) and r != "pruned"] or [UNPRUNED]
    first, *others = trained
    for other in others:
        try:
            seeds = stored.seeds(first, other)[:MOST_SEEDS]
        except Missing:  # not finished for a common seed
            continue
        pair = f"{regime_title(first)} – {regime_title(other)}"
        yield from ((pair, (first, seed), (other, seed)) for seed in seeds)
    seeds = stored.seeds(first)[:MOST_SEEDS]
    for seed, following in itertools.pairwise(seeds):
        if first == UNPRUNED or same_architecture(stored, first, seed, following):
            yield f"{regime_title(first)}, two seeds", (first, seed), (first, following)


def same_architecture(stored: StoredStudy, regime: str, seed: int, other: int) -> bool:
    """Whether the networks of a regime have equal widths, selections and masks in both seeds."""
    states = [stored.state(regime, number) for number in (seed, other)]
    shapes = [{name: value.shape for name, value in state.items()} for state in states]
    if shapes[0] != shapes[1]:
        return False
    try:
        one, two = (stored.plan(number) for number in (seed, other))
    except Missing:  # a published network, the same for all
        return True
    return (one.read == two.read and one.branches == two.branches
            and set(one.masks) == set(two.masks)
            and all(torch.equal(mask, two.masks[name]) for name, mask in one.masks.items()))


def gather_latency(stored: StoredStudy) -> pd.DataFrame:
    """Cost and measured latency of the unpruned and the pruned networks: network ("unpruned" or
    "pruned"), seed, batch (images at once), macs and flops (of one image), latency (milliseconds
    of a batch).

    All regimes of a plan have one architecture, so one network a seed is measured, up to three
    seeds. MACs of masked networks count the weights that live; the network computes all of them.
    """
    rows, masked, device, data = [], False, pick_device(), stored.data
    for network, regime, seed in _networks(stored):
        model = stored.network(regime, seed).to(device)
        masks = network == "pruned" and _is_masked(stored, seed)
        masked = masked or masks
        for batch in BATCHES:
            cost = profile(model, data.input_shape, count="nonzero" if masks else "dense",
                           batch=batch)
            rows.append({"network": network, "seed": seed, "batch": batch, "macs": cost.macs,
                         "flops": cost.flops, "latency": cost.latency})
    where, threads = provenance(str(device))["device"], torch.get_num_threads()
    note = f"latency measured on {where}, {threads} thread" + "s" * (threads != 1)
    note += "; MACs count weights that are not masked, the network computes all" * masked
    return labelled(pd.DataFrame(rows), stored.label, note)


def _networks(stored: StoredStudy) -> Iterator[tuple[str, str, int]]:
    """(unpruned or pruned, regime, seed) of the networks to measure."""
    if UNPRUNED in stored.regimes:
        yield UNPRUNED, UNPRUNED, stored.seeds(UNPRUNED)[0]
    done: set[int] = set()
    for regime in stored.regimes:
        if not prunes(regime):
            continue
        for seed in stored.seeds(regime)[:MOST_SEEDS]:
            if seed not in done:
                done.add(seed)
                yield "pruned", regime, seed


def _is_masked(stored: StoredStudy, seed: int) -> bool:
    try:
        return bool(stored.plan(seed).masks)
    except Missing:  # a published network
        return False
