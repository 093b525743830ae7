"""Hard cases of the figures of experiments: what they are drawn from."""

from __future__ import annotations

import numpy as np
import pandas as pd

import rethinklab as rl
from rethinklab.results.comparisons import lottery_tables, ratio_tables
from rethinklab.results.files import labelled

USUAL = ("unpruned", "finetune", "scratch-e", "scratch-b")
MANY = (*USUAL, "finetune:0.5", "finetune:1", "scratch-b-capped", "lr-rewind", "weight-rewind:0.7",
        "one-cycle", "scratch-b-full")
LABEL = ("Quick scale; l1, target A, on vgg16, width 0.125; data digits, 10,000 training images; "
         "cpu (x86_64); 3 seeds")
LONG = "word " * 60
LEVELS = {"unpruned": 0.93, "finetune": 0.915, "scratch-e": 0.938, "scratch-b": 0.955,
          "finetune:0.5": 0.92, "finetune:1": 0.93}
EPOCHS = {"unpruned": 160, "finetune": 40, "scratch-b": 240, "finetune:0.5": 80}


def study(seeds=3, regimes=USUAL, label=LABEL, spread=0.005, broken=False, penalty=0.0, **settings):
    """Made-up results of a study of which the costs are as a run would count them."""
    random = np.random.default_rng(len(regimes))
    about = {"dataset": "digits", "model": "vgg16", "method": "l1", "target": "A",
             "scale": "quick", "width": 0.125, "recipe": {"lr": settings.pop("lr", 0.05)},
             "method_options": settings.pop("options", {}), "preset": "", "precision": "fp32"}
    data = settings.pop("data", "digits")
    rows = []
    for regime in regimes:
        for seed in range(seeds):
            unpruned = regime.startswith("unpruned")
            level = LEVELS.get(regime, 0.94) - (0 if unpruned else penalty)
            rows.append({
                "regime": regime, "seed": seed, "test_accuracy": level + spread * random.normal(),
                "epochs": EPOCHS.get(regime, 160), "params": 2e5 if unpruned else 9e4,
                "macs": 5091968 if unpruned else 3320448, "train_images": 10_000,
                "test_images": 2000, "seconds": 60.0, "data": data, "device": "cpu (x86_64)"})
    frame = pd.DataFrame(rows)
    if broken:
        frame.loc[[1, len(frame) - 1], "test_accuracy"] = np.nan
    return rl.Results(frame, 1.0, label, "study", {**about, **settings})


def ratios(targets=(0.2, 0.4, 0.6, 0.8), method="slimming", **settings):
    """The table of a slimming study at several targets."""
    label = settings.pop("label", LABEL)
    given = [study(target=str(target), method=method, penalty=0.1 * target**3,
                   label=label.replace("target A", f"target {target}"), **settings)
             for target in targets]
    (table,) = ratio_tables(given).values()
    return table


def tickets(rounds=(1, 3, 7, 14), lrs=(0.1, 0.01), regimes=("unpruned", "ticket", "scratch-e"),
            **settings):
    """The table of lottery studies, one-shot and iterative."""
    given = []
    for lr in lrs:
        for turn in rounds:
            gone = 1 - 0.8**turn
            more = {"regimes": regimes, "method": "lottery", "lr": lr,
                    "penalty": 0.15 * gone**2 + (0.02 if lr < 0.05 else 0), **settings}
            given.append(study(target=f"{gone:.4f}", options={"rounds": 1}, **more))
            if turn > 1:
                given.append(study(target="0.2", options={"rounds": turn}, **more))
    (table,) = lottery_tables(given).values()
    return table


def histories(seeds=3, regimes=USUAL, label=LABEL, epochs=None, broken=False, ragged=False):
    """Made-up histories: accuracy saturates, with a jump where the rate falls."""
    random, rows = np.random.default_rng(0), []
    for regime in regimes:
        for seed in range(seeds):
            last = (epochs or EPOCHS.get(regime, 160)) + (5 * seed if ragged else 0)
            for epoch in range(1, last + 1):
                late = epoch > last / 2
                start = 0.0 if regime in ("unpruned", "scratch-e", "scratch-b") else 0.8
                accuracy = start + (0.9 - start) * (1 - np.exp(-epoch / 9)) + 0.03 * late
                rows.append((regime, seed, epoch, 2.3 * np.exp(-epoch / 20) + 0.02,
                             accuracy + 0.01 * random.normal() * (1 - 0.8 * late), 0.05))
    frame = pd.DataFrame(rows, columns=["regime", "seed", "epoch", "train_loss", "test_accuracy",
                                        "lr"])
    if broken:
        frame.loc[[30, 60], ["train_loss", "test_accuracy"]] = np.nan
    return labelled(frame, label)


def lines(seeds=3, pairs=3, label=LABEL, broken=False):
    """Made-up lines between networks, with a bump in the middle."""
    names = ("Fine-tuned – Scratch-E", "Fine-tuned – Scratch-B", "Fine-tuned, two seeds",
             "Fine-tuned – LR rewinding", "Fine-tuned – Weight rewinding (0.5)")
    rows = [{"pair": names[pair], "seed": seed, "alpha": alpha,
             "loss": 0.3 + (3 - pair / 2 + 0.2 * seed) * alpha * (1 - alpha),
             "error": 0.07 + (2.8 - pair / 2 + 0.1 * seed) * alpha * (1 - alpha)}
            for pair in range(pairs) for seed in range(seeds)
            for alpha in np.linspace(0, 1, 11).round(1)]
    frame = pd.DataFrame(rows)
    if broken:
        frame.loc[[4, 15], ["loss", "error"]] = np.nan
    return labelled(frame, label)


def latencies(seeds=3, networks=("unpruned", "pruned"), label=LABEL, broken=False, macs=5e6,
              batches=(1, 64)):
    """Made-up measurements."""
    random = np.random.default_rng(0)
    rows = [{"network": network, "seed": seed, "batch": batch,
             "macs": int(macs * (1 if network == "unpruned" else 0.65 - 0.02 * seed)),
             "flops": 2 * macs, "latency": (0.8 if network == "unpruned" else 0.7) * batch**0.8
             * (1 + 0.05 * random.random())}
            for network in networks for seed in range(1 if network == "unpruned" else seeds)
            for batch in batches]
    frame = pd.DataFrame(rows)
    if broken:
        frame.loc[frame.index[-1], "latency"] = np.nan
    return labelled(frame, label)


def verdicts(studies=12, regimes=("scratch-e", "scratch-b"), label=LABEL, name="study-{}", n=3,
             baselines=("finetune", "lr-rewind")):
    """Made-up comparisons of many studies; every other one lacks the second baseline."""
    rows = [{"study": name.format(study), "regime": regime, "against": against,
             "mean": study - 4.0, "low": study - 6.0 if n > 1 else np.nan,
             "high": study - 2.5 + 10 * (study == 1) if n > 1 else np.nan, "n": n, "margin": 0.5,
             "verdict": "better" if study > 6 else "not decided"}
            for study in range(studies) for place, against in enumerate(baselines)
            if not (place and study % 2) for regime in regimes]
    return labelled(pd.DataFrame(rows), label)


# "one layer" and "110 layers" are about figures of layers, of which there is none here.
CASES = {
    "differences": {
        "usual": study, "one seed": lambda: study(1), "two seeds": lambda: study(2),
        "missing regime": lambda: study(regimes=("finetune", "scratch-e")),
        "not trained": lambda: study(regimes=("unpruned", "pruned", "scratch-e")),
        "many regimes": lambda: study(5, MANY), "all alike": lambda: study(spread=0.0),
        "many seeds": lambda: study(40), "NaN": lambda: study(broken=True),
        "long label": lambda: study(label=LONG),
    },
    "accuracy_ratio": {
        "usual": ratios, "one seed": lambda: ratios(seeds=1),
        "missing regime": lambda: ratios(regimes=("scratch-e",)),
        "many regimes": lambda: ratios(regimes=MANY), "NaN": lambda: ratios(broken=True),
        "a regime all NaN": lambda: ratios().assign(test_accuracy=lambda table: table[
            "test_accuracy"].where(table["regime"] != "finetune")),
        "two targets": lambda: ratios((0.3, 0.5), "weight-level"),
        "long label": lambda: ratios(label=LONG),
    },
    "accuracy_budget": {
        "usual": study, "longer fine-tuning": lambda: study(5, (
            "unpruned", "finetune", "finetune:0.5", "finetune:1", "scratch-e", "scratch-b")),
        "one seed": lambda: study(1), "one regime": lambda: study(regimes=("unpruned",)),
        "many regimes": lambda: study(5, MANY), "all alike": lambda: study(spread=0.0),
        "NaN": lambda: study(broken=True), "long label": lambda: study(label=LONG),
        "a regime all NaN": lambda: blind(study(), "finetune"),
    },
    "lottery": {
        "usual": tickets, "one seed": lambda: tickets(seeds=1),
        "one-shot only": lambda: tickets((1,)), "one rate": lambda: tickets(lrs=(0.1,)),
        "missing regime": lambda: tickets(regimes=("ticket",)),
        "unknown rate": lambda: tickets(lrs=(0.1,)).assign(lr=np.nan),
        "five rates": lambda: tickets((1, 3), (0.2, 0.1, 0.05, 0.02, 0.01)),
        "NaN": lambda: tickets(broken=True), "long label": lambda: tickets(label=LONG),
    },
    "forest": {
        "usual": verdicts, "one study": lambda: verdicts(1), "NaN": lambda: verdicts(n=1),
        "one recipe": lambda: verdicts(baselines=("finetune",)),
        "missing regime": lambda: verdicts(regimes=("scratch-b",)),
        "many studies": lambda: verdicts(60), "long label": lambda: verdicts(label=LONG),
        "long names": lambda: verdicts(name="a-method-" * 8 + "{}"),
    },
    "learning_curves": {
        "usual": histories, "one seed": lambda: histories(1),
        "one epoch": lambda: histories(epochs=1), "few epochs": lambda: histories(epochs=4),
        "missing regime": lambda: histories(regimes=("finetune",)),
        "many regimes": lambda: histories(5, MANY), "ragged": lambda: histories(ragged=True),
        "NaN": lambda: histories(broken=True), "long label": lambda: histories(label=LONG),
    },
    "barrier": {
        "usual": lines, "one seed": lambda: lines(1), "one pair": lambda: lines(pairs=1),
        "many pairs": lambda: lines(pairs=5), "NaN": lambda: lines(broken=True),
        "all NaN": lambda: lines().assign(error=np.nan), "long label": lambda: lines(label=LONG),
    },
    "latency": {
        "usual": latencies, "one seed": lambda: latencies(1),
        "missing regime": lambda: latencies(networks=("pruned",)),
        "large networks": lambda: latencies(macs=4.1e9), "NaN": lambda: latencies(broken=True),
        "all NaN": lambda: latencies().assign(latency=np.nan),
        "one batch": lambda: latencies(batches=(64,)),
        "four batches": lambda: latencies(batches=(1, 8, 64, 256)),
        "long label": lambda: latencies(label=LONG),
    },
    # A schematic that is drawn from nothing: there are no hard cases but its width.
    "pipeline": {"usual": lambda: None},
}


def blind(results, regime):
    """The results without the accuracies of a regime."""
    results.frame.loc[results.frame["regime"] == regime, "test_accuracy"] = np.nan
    return results
