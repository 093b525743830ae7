"""The trained networks that come with the kit: taken from a stored study, and trained anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rethinklab.errors import Missing
from rethinklab.experiments.stages import Setting, load_network, run_stage
from rethinklab.experiments.store import Store
from rethinklab.experiments.trial import Stage
from rethinklab.models.trained import FOLDER, about_trained, load_trained, save_trained
from rethinklab.results.results import Results
from rethinklab.results.stored import StoredStudy

TOLD = ("address", "seed", "test_accuracy", "epochs", "precision", "device", "threads", "torch",
        "python", "commit", "date")


def take_trained(results: Results, name: str, folder: Path = FOLDER) -> Path:
    """Keep the network that the first seed of a stored study pruned, as it was before that, for
    `load_trained(name)`. Raises Missing for a study that is not in a store, or prunes nothing."""
    if not isinstance(results.source, StoredStudy):
        raise Missing(f"the networks of {results.name or 'these results'} were not kept; name a "
                      "study in a store.")
    stage = results.source.pruned_stage(results.source.planned_seeds[0])
    store = results.store
    about: dict[str, Any] = {key: value for key, value in store.result(stage).items()
                             if key in TOLD}
    about |= {"study": results.name, "spec": stage.spec, "source": stage.source}
    return save_trained(name, load_network(stage, store), about, folder)


@dataclass(frozen=True)
class Retraining:
    """A network of the kit trained anew. recorded, repeated: test accuracies, fractions. largest:
    difference of any weight or statistic."""

    name: str
    recorded: float
    repeated: float
    largest: float
    device: str
    device_now: str

    @property
    def verdict(self) -> str:
        """How the two compare, in words."""
        if self.largest == 0:
            return "identical"
        return f"weights differ by up to {self.largest:.2g}"


def retrain(name: str, store: Store, device: str = "auto", folder: Path = FOLDER) -> Retraining:
    """Train one of the kit's networks anew, with all that it rests on, in `store`, and compare.

    Raises ConfigError for a name that there is not, and where the images are no longer the same.
    """
    about = about_trained(name, folder)
    spec, source = about["spec"], about["source"]
    needs = (Stage("large", spec["start"], source),) if "start" in spec else ()
    stage = Stage("large", spec, source, needs)
    for one in (*needs, stage):
        run_stage(one, store, Setting(device))
    kept = load_trained(name, folder).state_dict()
    anew = load_network(stage, store).state_dict()
    result = store.result(stage)
    return Retraining(name, about["test_accuracy"], result["test_accuracy"],
                      max(float((kept[key].double() - anew[key].double()).abs().max())
                          for key in kept), about["device"], result["device"])
