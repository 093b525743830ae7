"""The commands that run studies: demo, run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rethinklab.cli import options
from rethinklab.cli.arguments import parse_factors, parse_options, parse_seeds, parse_target
from rethinklab.cli.recording import show_record
from rethinklab.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rethinklab.experiments.queue import Entry
    from rethinklab.experiments.study import Study
    from rethinklab.experiments.time_limit import Countdown
    from rethinklab.results import Results

INTERRUPTED = 130


def demo(store: options.Store = "runs", workers: options.Workers = None,
         seeds: options.Seeds = None,
         out: Annotated[str | None, typer.Option(help="Folder of the figure. "
                                                 "[default: STORE/figures]")] = None) -> None:
    """The main job on embedded images, in minutes: table, verdict, figure.

    Trains VGG-16 (slim) on handwritten digits in cluttered scenes, prunes it to VGG-16-A by
    L1-norm, and trains what is left three ways. Needs no download and no GPU. Stop it whenever
    you like: the next call goes on where it stopped.
    """
    from rethinklab.experiments.study import Study

    study = Study(model="vgg16", target="A", seeds=parse_seeds(seeds))
    typer.echo("Weights or architecture? VGG-16 (slim) on embedded digit scenes, pruned to "
               f"VGG-16-A by L1-norm,\n{len(study.seed_numbers)} seeds, three ways to "
               "train what is left. About 3 minutes on two cores; what is stored is not run again.")
    conduct([study], store, workers=workers, out=out or str(Path(store) / "figures"))


def run(
    preset: options.Preset = None,
    data: options.Data = None,
    model: options.Model = None,
    method: options.Method = None,
    target: options.Target = None,
    option: options.MethodOptions = None, model_option: options.ModelOptions = None,
    regimes: options.Regimes = None,
    seeds: options.Seeds = None,
    scale: options.Scale = "quick",
    width: options.Width = None,
    epochs: options.Epochs = None, lr: options.LearningRate = None,
    batch_size: options.BatchSize = None, margin: options.Margin = None,
    images: options.Images = None, size: options.Size = None,
    root: options.Root = None, normalise: options.Normalise = None,
    precision: options.Precision = "fp32",
    device: options.Device = "auto", sync_batchnorm: options.SyncBatchNorm = False,
    workers: options.Workers = None, threads: options.Threads = 1,
    engine: options.Engine = "local",
    time_limit: options.TimeLimit = None, tune: options.Tune = None,
    tensorboard: options.TensorBoard = None,
    gpus_per_trial: options.GpusPerTrial = None, slurm: options.Slurm = None,
    queue: options.Queue = None,
    record: options.Record = Path("recorded"),
    only: options.Only = None,
    store: options.Store = "runs", out: options.Out = None,
) -> None:
    """Run a study, or what is missing of it, and show its table and verdict.

    Examples:

    rethinklab run l1-vgg16-cifar10 --scale paper

    rethinklab run --data folder:~/birds --size 32 --model vgg16 --target 0.4 --seeds 6

    rethinklab run cifar --scale paper --time-limit 8h (a group of presets, one after the other)

    rethinklab run --queue data/results/queue.toml --time-limit 25m
    """
    from rethinklab.trainers import distributed

    settings = study_options(
        target, regimes, seeds, option, model_option, dataset=data, model=model, method=method,
        width=width, epochs=epochs, lr=lr, batch_size=batch_size, margin=margin, size=size,
        root=root, images=images, normalise=normalise)
    entries: dict[str, Entry] = {}
    if queue is None:
        studies = chosen(preset, scale, settings, precision)
    elif preset or any(settings.values()) or tune or scale != "quick":
        raise ConfigError("--queue says itself what to run; leave out the preset and the "
                          "options of a study, or change the file.")
    else:
        studies, entries = queued(queue, only or [], record)
    execution = {"workers": workers, "threads": threads, "device": device, "engine": engine,
                 "events": tensorboard, "gpus_per_trial": gpus_per_trial,
                 "slurm": parse_options(slurm or [])}
    factors = parse_factors(tune) if tune else None
    with distributed.start(device, sync_batchnorm):  # of torchrun's processes, if there are several
        conduct(studies, store, out, time_limit, factors, entries, record, **execution)


def study_options(target: str | None, regimes: str | None, seeds: str | None,
                  option: list[str] | None, model_option: list[str] | None,
                  **plain: Any) -> dict[str, Any]:
    """The options of a study that were given, by the names and as the values that `Study` takes."""
    given = {**plain, "target": None if target is None else parse_target(target),
             "regimes": [name.strip() for name in regimes.split(",")] if regimes else None,
             "seeds": parse_seeds(seeds), "method_options": parse_options(option or []),
             "model_options": parse_options(model_option or [])}
    return {name: value for name, value in given.items() if value is not None}


def chosen(preset: str | None, scale: str, settings: dict[str, Any],
           precision: str) -> list[Study]:
    """The studies of a preset or of a group of presets, or the one that the settings describe."""
    from rethinklab.experiments import paper
    from rethinklab.experiments.settings import study_settings
    from rethinklab.experiments.study import Study

    return [Study(**study_settings(name, scale, settings), precision=precision)
            for name in (paper.expand(preset) if preset else [None])]


def queued(path: Path, only: Sequence[str],
           record: Path) -> tuple[list[Study], dict[str, Entry]]:
    """The studies of a queue that can be run here, and its entries by the names of the studies;
    says which are passed over and why. What is recorded already is run again only by name."""
    from rethinklab.devices import pick_device
    from rethinklab.experiments.queue import choose, load_queue
    from rethinklab.results.rerun import is_recorded

    gpu = pick_device().type == "cuda"
    found: dict[str, tuple[Study, Entry]] = {}
    for entry in choose(load_queue(path), only):
        obstacle = entry.obstacle(gpu)
        if not obstacle and not only and any(is_recorded(entry, folder) for folder in
                                             (record, path.parent)):
            obstacle = f"it is recorded; --only {entry.name} runs it again"
        if obstacle:
            typer.echo(f"{entry.name} is passed over: {obstacle}.")
            continue
        study = entry.study()
        found[study.name] = study, entry
    return [study for study, _ in found.values()], {name: e for name, (_, e) in found.items()}


def conduct(studies: Sequence[Study], store: str, out: str | None = None,
            time_limit: str | None = None, factors: list[float] | None = None,
            entries: Mapping[str, Entry] | None = None, folder: Path | None = None,
            **execution: Any) -> None:
    """Run studies one after the other within the time limit, and print what each found.

    entries: of the queue that they are from, by the names of the studies; these are recorded in
    `folder` when they are done. execution: where and with what, as `results.run` takes it.
    """
    from rethinklab.experiments.time_limit import Countdown
    from rethinklab.trainers import distributed

    left = Countdown(time_limit)
    for number, study in enumerate(studies, 1):
        if len(studies) > 1 and distributed.is_main():
            name = entries[study.name].name if entries else study.preset or study.name
            typer.echo(f"\n{name} ({number} of {len(studies)})")
        try:
            results = carry_out(study, store, left, factors, execution)
        except KeyboardInterrupt:
            typer.echo("\nrethinklab: interrupted; what was finished is stored, and the same "
                       "command goes on from there.", err=True)
            raise typer.Exit(INTERRUPTED) from None
        if distributed.is_main():
            show(results, study, store, out)
            if entries and folder:
                entry = entries[study.name]
                show_record(*results.save(folder / entry.name, entry.tables))


def carry_out(study: Study, store: str, left: Countdown, factors: list[float] | None,
              execution: dict[str, Any]) -> Results:
    """A study's results, after a learning-rate grid where there are factors."""
    from rethinklab.experiments.tuning import tune
    from rethinklab.results import run as run_study
    from rethinklab.trainers import distributed

    if factors:
        tuning = tune(study, store, factors=factors, time_limit=left, **execution)
        if distributed.is_main():
            typer.echo(f"\n{tuning}\n")
        study = tuning.study
    return run_study(study, store, time_limit=left, **execution)


def show(results: Results, study: Study, store: str, out: str | None) -> None:
    """Table, verdicts and, for a row of the paper, the published numbers beside."""
    from rethinklab.results.beside_paper import beside

    typer.echo(f"\n{results}\n")
    if study.preset:
        typer.echo(f"{beside(study.preset, results)}\n")
    typer.echo(f"Stored as {results.name} in {store}.")
    if out is not None:
        from rethinklab.figures import export, regimes

        paths = export(regimes(results), f"regimes-{results.name}", out)
        typer.echo("Figure: " + " and ".join(str(p) for p in paths if p.suffix in (".pdf", ".png")))
