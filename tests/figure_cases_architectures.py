"""Hard cases of the figures of architectures: tables as the evidence gives them, made up."""

from __future__ import annotations

import numpy as np
import pandas as pd

VGG_16 = (64, 64, 128, 128, *[256] * 3, *[512] * 6)
SLIM = (40, 64, 128, 128, 254, 251, 229, 230, 115, 59, 45, 50, 96)  # a public run, 60 % removed
SIDES = (32, 32, 16, 16, 8, 8, 8, 4, 4, 4, 2, 2, 2)
PLACES = (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40)
LABEL = ("Quick scale; slimming, target 0.6, on vgg16, width 1; data cifar10, 50,000 training "
         "images; cpu; 3 seeds")


def labelled(frame, label=LABEL):
    frame.attrs["label"] = label
    return frame


def widths(seeds=3, before=VGG_16, after=SLIM, sides=SIDES, unit="channels", label=LABEL,
           names=None, spread=0.03):
    """A made-up table of widths: a row a layer and seed."""
    random = np.random.default_rng(0)
    names = names or [f"features.{PLACES[n] if n < 13 else n}" for n in range(len(before))]
    rows = [{"layer": names[n], "place": n + 1, "side": sides[n], "seed": seed,
             "before": before[n], "unit": unit,
             "after": min(before[n], max(1, round(after[n] * (1 + spread * random.normal()))))}
            for seed in range(seeds) for n in range(len(before))]
    return labelled(pd.DataFrame(rows), label)


def deep(layers=110, unit="channels", **more):
    """Residual blocks in three stages, with long names."""
    random = np.random.default_rng(1)
    before = [16 * 2 ** (3 * n // layers) for n in range(layers)]
    return widths(before=before, after=[w * random.uniform(0.2, 1) for w in before],
                  sides=[32 // 2 ** (3 * n // layers) for n in range(layers)], unit=unit,
                  names=[f"stages.{3 * n // layers}.{n}.conv1" for n in range(layers)], **more)


def masked(**more):
    """Weights of VGG-16, a tenth of which stay."""
    before = [9 * a * b for a, b in zip((3, *VGG_16), VGG_16, strict=False)]
    kept = np.linspace(0.7, 0.02, len(before))
    return widths(before=before, after=[w * k for w, k in zip(before, kept, strict=True)],
                  unit="weights", **more)


def both_units(layers=30):
    """A residual network whose blocks lose channels and read fewer of the stream."""
    together = pd.concat([deep(layers), deep(layers // 2, "read channels").assign(
        before=lambda frame: 4 * frame["before"])], ignore_index=True)
    return labelled(together)


def broken(frame, rows=(2, 15)):
    frame = frame.copy()
    frame["after"] = frame["after"].astype(float)
    frame.loc[list(rows), "after"] = np.nan
    return labelled(frame)


def lost_layer(frame):
    """Of one layer no seed has a width."""
    return broken(frame, frame.index[frame["layer"] == frame["layer"].iloc[4]])


def several(count=3):
    """Studies at different targets."""
    random = np.random.default_rng(2)
    tables = [widths(after=[max(1, w * random.uniform(0.1, 1)) for w in VGG_16]).assign(
        study=f"slimming 0.{n + 1}") for n in range(count)]
    return labelled(pd.concat(tables, ignore_index=True))


def decided(seeds=3, layers=13, label=LABEL, automatic=1):
    """Predefined and automatic widths of one network."""
    if layers > 13:
        made = [deep(layers, seeds=seeds).assign(kind=kind) for kind in
                ("predefined", "automatic")]
        made[0]["after"] = made[0]["before"] // 2
        return labelled(pd.concat(made, ignore_index=True))
    half = [w // 2 for w in VGG_16]
    predefined = widths(seeds, VGG_16[:layers], half[:layers], spread=0).assign(
        kind="predefined", study="l1 0.5")
    found = [widths(seeds, VGG_16[:layers], SLIM[:layers]).assign(
        kind="automatic", study=f"slimming 0.{6 + n}") for n in range(automatic)]
    return labelled(pd.concat([predefined, *found], ignore_index=True), label)


def designs(names=("found", "uniform"), seeds=3, of="slimming", label=LABEL, targets=4,
            settings=("",)):
    """Made-up accuracies of designs at several sizes; uniform ones need more parameters."""
    random = np.random.default_rng(3)
    need = {"found": 1, "uniform": 5, "guided": 1.1, "transferred": 1.3}
    rows = []
    for name in names:
        for how in settings if name == "uniform" else ("",):
            for step in range(targets):
                size = 14.7e6 * 0.35**step
                for seed in range(seeds):
                    rows.append({
                        "design": name, "of": "" if name == "transferred" else of,
                        "settings": how, "target": str(round(1 - 0.6**step, 2)), "seed": seed,
                        "params": size * random.uniform(0.95, 1.05),
                        "macs": 313e6 * 0.6**step * random.uniform(0.95, 1.05),
                        "accuracy": 0.94 - 0.3 / (1 + 1e-5 * size / need[name])
                        + 0.002 * random.normal(),
                        "regime": "scratch-e"})
    return labelled(pd.DataFrame(rows), label)


def gaps():
    frame = designs()
    frame.loc[frame.index[:4], "accuracy"] = np.nan  # a whole target, and a seed of another
    return labelled(frame)


ALL = ("found", "uniform", "guided", "transferred")
LONG = "word " * 60

# None of these figures is about regimes, so none can be missing.
CASES = {
    "layer_widths": {
        "usual": widths, "one seed": lambda: widths(1),
        "one layer": lambda: widths(before=(64,), after=(40,)), "110 layers": deep,
        "40 layers": lambda: deep(40), "NaN": lambda: broken(widths()),
        "NaN in all seeds": lambda: lost_layer(widths()), "weights": masked,
        "several units": both_units, "long label": lambda: widths(label=LONG),
        "a layer gone": lambda: widths(after=(0, *SLIM[1:]), spread=0).assign(
            after=lambda frame: frame["after"].where(frame["place"] > 1, 0)),
    },
    "stage_ratios": {
        "usual": several, "single": widths, "one seed": lambda: widths(1),
        "one layer": lambda: widths(before=(64,), after=(40,)), "110 layers": deep,
        "NaN": lambda: broken(widths()), "NaN in all seeds": lambda: lost_layer(widths()),
        "weights": masked, "several units": both_units, "nine studies": lambda: several(9),
        "long label": lambda: widths(label=LONG),
        "linear layer": lambda: widths(sides=(*SIDES[:-1], 0)),
    },
    "targets": {
        "usual": decided, "one seed": lambda: decided(1), "one layer": lambda: decided(layers=1),
        "110 layers": lambda: decided(layers=110), "three studies": lambda: decided(automatic=3),
        "one kind": lambda: widths().assign(kind="automatic"),
        "NaN": lambda: broken(decided()), "long label": lambda: decided(label=LONG),
    },
    # A layer is nothing that this figure shows.
    "efficiency": {
        "usual": designs, "all designs": lambda: designs(ALL), "one seed": lambda: designs(seeds=1),
        "one design": lambda: designs(("found",)), "one target": lambda: designs(targets=1),
        "one point": lambda: designs(("guided",), seeds=1, targets=1),
        "settings": lambda: designs(ALL, settings=("equal MACs", "equal parameters")),
        "weights": lambda: designs(ALL, of="weight-level", settings=("random places",)),
        "NaN": gaps, "nine targets": lambda: designs(ALL, targets=9),
        "long label": lambda: designs(label=LONG),
    },
}
