"""Tables that widgets show, and a reader's hand on their controls."""


import pandas as pd

import rethinklab as rl


def width_tables():
    """Widths of three made-up layers: of channels and weights, of channels alone, of one seed."""
    rows = [{"layer": layer, "place": place, "side": side, "seed": seed, "before": 16,
             "after": 16 - place * 3 - seed, "unit": unit}
            for place, (layer, side) in enumerate((("a", 32), ("b", 32), ("c", 16)), 1)
            for seed in (0, 1, 2) for unit in ("channels", "weights")]
    frame = pd.DataFrame(rows)
    channels = frame[frame["unit"] == "channels"].reset_index(drop=True)
    return {"both": frame, "channels": channels, "one": channels[channels["seed"] == 0]}


def paired_results():
    """Made-up accuracies of six regimes, of four seeds each."""
    rows = [{"regime": regime, "seed": seed, "test_accuracy": 0.9 + gain + seed * step,
             "params": 1, "macs": 1, "epochs": 2, "seconds": 1.0}
            for regime, gain, step in (("unpruned", 0.0, 0.01), ("pruned", -0.5, 0.01),
                                       ("finetune", -0.02, 0.011), ("lr-rewind", 0.0, 0.009),
                                       ("scratch-e", 0.0, 0.0), ("scratch-b", 0.003, 0.01))
            for seed in range(4)]
    return rl.Results(pd.DataFrame(rows), 0.5, "label", "study")


def moved(explorer, values):
    for name, value in values.items():
        explorer.controls[name].value = value
    assert explorer.values == values


def is_shown(explorer):
    return explorer.picture.layout.display != "none"
