"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rethinklab.arguments import parse_factors, parse_options, parse_seeds, parse_target
from rethinklab.errors import ConfigError, RethinkError, first_line, unknown_name
from rethinklab.figures_cli import figures, record, report, rerun, show_record, summary
from rethinklab.notebook_cli import grade, student
from rethinklab.store_cli import store_app

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from rethinklab.experiments.queue import Entry
    from rethinklab.experiments.study import Study
    from rethinklab.experiments.time_limit import Countdown
    from rethinklab.results import Results

INTERRUPTED = 130
TRACEBACK = "RETHINKLAB_TRACEBACK"

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Is it the weights or the architecture? Prune a network, then train what is left three
    ways: fine-tuned from the weights it inherited, from scratch for as many epochs (Scratch-E),
    and from scratch with as much computation (Scratch-B); over paired seeds, with a verdict.

    Begin with `rethinklab demo`. Then `rethinklab run --data folder:PATH` asks the question of
    your own images, and `rethinklab lab` opens the notebooks.""",
    epilog="Exit codes: 0 done, 1 a run failed, 2 wrong input, 3 the store is at fault, "
           "4 time was up, 130 interrupted. Whatever was finished is stored, and the next run goes "
           "on from it.")
app.add_typer(store_app, name="store")
for command in (figures, record, report, rerun, summary, student, grade):
    app.command()(command)

StoreOption = Annotated[str, typer.Option("--store", help="Folder of the results.")]
WorkersOption = Annotated[int | None, typer.Option(
    help="Worker processes; 0 for none. [default: one a core, or one on each GPU]")]
SeedsOption = Annotated[str | None, typer.Option(
    help="How many seeds, or which: 5, or 0,3,7. [default: by scale]")]


@app.command()
def demo(store: StoreOption = "runs", workers: WorkersOption = None,
         seeds: SeedsOption = None,
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


@app.command()
def run(
    preset: Annotated[str | None, typer.Argument(
        help="A row of the paper, such as l1-vgg16-cifar10; see `rethinklab list presets`.")
    ] = None,
    data: Annotated[str | None, typer.Option(
        help="digits, cifar10, cifar100, folder:PATH, imagenet:PATH, or your own as "
             "package.module:function. [default: digits]")] = None,
    model: Annotated[str | None, typer.Option(
        help="A network of the kit, or your own as package.module:function, importable from the "
             "current folder. [default: the method's example]")] = None,
    method: Annotated[str | None, typer.Option(
        help="How to prune: a method of the kit, or your own as package.module:Name, importable "
             "from the current folder. [default: l1]")] = None,
    target: Annotated[str | None, typer.Option(
        help="A published target (A), a ratio to remove (0.4), a budget that is left "
             "(macs:0.5 or params:0.3), or JSON {layer: ratio or width}. "
             "[default: the method's example]")] = None,
    option: Annotated[list[str] | None, typer.Option(
        help="A hyper-parameter of the method as NAME=VALUE; repeat for more.")] = None,
    model_option: Annotated[list[str] | None, typer.Option(
        help="An option of the network as NAME=VALUE, such as variant=slimming.")] = None,
    regimes: Annotated[str | None, typer.Option(
        help="How to train what is left, by commas. [default: by method]")] = None,
    seeds: SeedsOption = None,
    scale: Annotated[str, typer.Option(help="quick, classroom or paper: defaults for all that "
                                            "follows.")] = "quick",
    width: Annotated[float | None, typer.Option(
        help="Width multiplier of the network. [default: by scale; 1 for your own]")] = None,
    epochs: Annotated[int | None, typer.Option(
        help="Epochs of the large network. [default: by scale]")] = None,
    lr: Annotated[float | None, typer.Option(
        help="Initial learning rate. [default: by scale]")] = None,
    batch_size: Annotated[int | None, typer.Option(
        help="Images in a training step. [default: 64]")] = None,
    margin: Annotated[float | None, typer.Option(
        help="Regimes within so many percentage points count as equivalent. [default: by scale]"
    )] = None,
    images: Annotated[int | None, typer.Option(
        help="At most so many training and so many test images. [default: all]")] = None,
    size: Annotated[int | None, typer.Option(
        help="Side in pixels for a folder of images. [default: their own]")] = None,
    root: Annotated[str | None, typer.Option(help="Where CIFAR lies or is downloaded to.")] = None,
    normalise: Annotated[str | None, typer.Option(
        help="own: CIFAR by its own mean and standard deviation. [default: the study's]")] = None,
    precision: Annotated[str, typer.Option(help="fp32, or bf16 to compute faster on a GPU."
                                           )] = "fp32",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    workers: WorkersOption = None,
    threads: Annotated[int, typer.Option(help="Threads of each worker.")] = 1,
    engine: Annotated[str, typer.Option(
        help="Where trials run: local, ray (a cluster) or slurm (job arrays).")] = "local",
    time_limit: Annotated[str | None, typer.Option(
        help="Stop cleanly before so much time is over, such as 25m or 1h30m; the same command "
             "goes on.")] = None,
    tune: Annotated[str | None, typer.Option(
        help="First choose each arm's learning rate on held-out training images, among these "
             "multiples of its usual one: 0.3,1,3.")] = None,
    tensorboard: Annotated[str | None, typer.Option(
        help="Also write TensorBoard event files into this folder.")] = None,
    gpus_per_trial: Annotated[float | None, typer.Option(
        help="Share of a GPU for each trial (ray and slurm). [default: by engine]")] = None,
    slurm: Annotated[list[str] | None, typer.Option(
        help="An option of the job as NAME=VALUE, such as partition=gpu or time=4h.")] = None,
    queue: Annotated[Path | None, typer.Option(
        help="Run the studies of this TOML file instead, in order, and record each."
    )] = None,
    record: Annotated[Path, typer.Option(
        help="Where the studies of a queue are recorded; what is there, or beside the queue, is "
             "passed over.")] = Path("recorded"),
    only: Annotated[list[str] | None, typer.Option(
        help="Of the queue the study of this name; repeat for more.")] = None,
    store: StoreOption = "runs",
    out: Annotated[str | None, typer.Option(help="Also draw the figure into this folder.")] = None,
) -> None:
    """Run a study, or what is missing of it, and show its table and verdict.

    Examples:

    rethinklab run l1-vgg16-cifar10 --scale paper

    rethinklab run --data folder:~/birds --size 32 --model vgg16 --target 0.4 --seeds 6

    rethinklab run cifar --scale paper --time-limit 8h (a group of presets, one after the other)

    rethinklab run --queue data/results/queue.toml --time-limit 25m
    """
    from rethinklab.experiments import paper
    from rethinklab.experiments.settings import study_settings
    from rethinklab.experiments.study import Study

    given = {"dataset": data, "model": model, "method": method,
             "target": None if target is None else parse_target(target),
             "regimes": [name.strip() for name in regimes.split(",")] if regimes else None,
             "seeds": parse_seeds(seeds),
             "method_options": parse_options(option or []),
             "model_options": parse_options(model_option or []),
             "width": width, "epochs": epochs, "lr": lr, "batch_size": batch_size,
             "margin": margin, "size": size, "root": root, "images": images,
             "normalise": normalise}
    given = {name: value for name, value in given.items() if value is not None}
    entries: dict[str, Entry] = {}
    if queue is not None:
        if preset or any(given.values()) or tune or scale != "quick":
            raise ConfigError("--queue says itself what to run; leave out the preset and the "
                              "options of a study, or change the file.")
        studies, entries = queued(queue, only or [], record)
    else:
        names = paper.expand(preset) if preset else [None]
        studies = [Study(**study_settings(name, scale, given), precision=precision)
                   for name in names]
    options = {"workers": workers, "threads": threads, "device": device, "engine": engine,
               "events": tensorboard, "gpus_per_trial": gpus_per_trial,
               "slurm": parse_options(slurm or [])}
    from rethinklab.trainers import distributed

    with distributed.start(device):  # of torchrun's processes, if there are several
        conduct(studies, store, out=out, time_limit=time_limit, entries=entries,
                folder=record, factors=parse_factors(tune) if tune else None,
                **options)


def queued(path: Path, only: Sequence[str],
           record: Path) -> tuple[list[Study], dict[str, Entry]]:
    """The studies of a queue that can be run here, and its entries by the names of the studies;
    says which are passed over and why. What is recorded already is run again only by name."""
    from rethinklab.experiments.queue import choose, load_queue
    from rethinklab.results.rerun import is_recorded
    from rethinklab.trainers.loop import pick_device

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
            **options: Any) -> None:
    """Run studies one after the other within the time limit, and print what each found.

    entries: of the queue that they are from, by the names of the studies; these are recorded in
    `folder` when they are done.
    """
    from rethinklab.experiments.time_limit import Countdown
    from rethinklab.trainers import distributed

    left = Countdown(time_limit)
    for number, study in enumerate(studies, 1):
        if len(studies) > 1 and distributed.is_main():
            name = entries[study.name].name if entries else study.preset or study.name
            typer.echo(f"\n{name} ({number} of {len(studies)})")
        try:
            results = carry_out(study, store, left, factors, options)
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
              options: dict[str, Any]) -> Results:
    """A study's results, after a learning-rate grid where there are factors."""
    from rethinklab.experiments.tuning import tune
    from rethinklab.results import run as run_study
    from rethinklab.trainers import distributed

    if factors:
        tuning = tune(study, store, factors=factors, time_limit=left, **options)
        if distributed.is_main():
            typer.echo(f"\n{tuning}\n")
        study = tuning.study
    return run_study(study, store, time_limit=left, **options)


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


@app.command(name="list")
def list_(what: Annotated[str, typer.Argument(
              help="models, methods, presets, groups, regimes, datasets, scales or figures.")] = "",
          store: StoreOption = "runs") -> None:
    """What there is to choose from. Presets come with published and own results."""
    def models() -> dict[str, str]:
        from rethinklab.models import MODELS
        return {name: text for name, (_, text) in MODELS.items()}

    def methods() -> dict[str, str]:
        from rethinklab.pruners import METHODS
        return {name: summary_line(pruner) for name, pruner in METHODS.items()}

    def presets() -> str:
        from rethinklab.results import load_studies
        from rethinklab.results.beside_paper import overview_text
        from rethinklab.results.load import recorded_folder
        marked = (Path(store) / "store.json").is_file()
        places = filter(None, (recorded_folder(), Path(store) if marked else None))
        return overview_text([results for place in places
                              for results in load_studies(place).values()])

    def groups() -> dict[str, str]:
        from rethinklab.experiments import paper
        return {name: f"{len(members)} presets" for name, members in paper.groups().items()}

    def regimes() -> dict[str, str]:
        from rethinklab.trainers.regimes import REGIMES
        return {name: regime.meaning for name, regime in REGIMES.items()}

    def datasets() -> dict[str, str]:
        from rethinklab.data import DATASETS
        return {name: text for name, (_, text) in DATASETS.items()}

    def scales() -> dict[str, str]:
        from rethinklab.experiments.scales import SCALES
        return {name: scale.meaning for name, scale in SCALES.items()}

    def figures() -> dict[str, str]:
        from rethinklab.figures.catalogue import FIGURES
        from rethinklab.results.paper_tables import TABLES
        drawn = {name: kind.meaning + (f" ({kind.paper})" if kind.paper else "")
                 for name, kind in FIGURES.items()}
        return drawn | dict.fromkeys(TABLES, "the rows in the paper's layout, own results beside")

    kinds = {f.__name__: f for f in (models, methods, presets, groups, regimes, datasets, scales,
                                     figures)}
    if what not in kinds:
        raise unknown_name("list", what, kinds)
    rows = kinds[what]()
    if isinstance(rows, str):
        typer.echo(rows)
        return
    wide = max(map(len, rows))
    for name, text in rows.items():
        typer.echo(f"{name:{wide}}  {text}")


def summary_line(thing: Any) -> str:
    """First sentence of a docstring."""
    first = (thing.__doc__ or "").strip().split("\n\n")[0]
    return " ".join(first.split()).partition(". ")[0].rstrip(".") + "."


@app.command()
def results(
    studies: Annotated[list[str] | None, typer.Argument(
        metavar="[STUDY ...]",
        help="Names of studies, or how they begin; without one, all are listed.")] = None,
    store: StoreOption = "runs",
    format: Annotated[str, typer.Option(help="table, csv, latex, parquet or ledger.")] = "table",
    out: Annotated[Path | None, typer.Option(help="Write to this file instead.")] = None,
) -> None:
    """Show stored results: tables and verdicts of studies, also while they run.

    Examples:

    rethinklab results l1-vgg16

    rethinklab results l1-vgg16 slimming-vgg19 --format latex (one table, a row a study)

    rethinklab results --format parquet --out all.parquet (every trial in the store)
    """
    from rethinklab.experiments.store import Store
    from rethinklab.results import load_studies

    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    place = Store(store, create=False)
    names = place.studies()
    if not studies and (format in ("table", "ledger") or not names):
        typer.echo("\n".join(names) if names else "No study is stored here yet.")
        return
    found = list(load_studies(place, studies or ()).values())
    if format == "parquet":
        if out is None:
            raise ConfigError("format parquet is no text; say where to with --out FILE.parquet.")
        whole_frame(found).to_parquet(out, index=False)
    elif out is not None:
        out.write_text(formatted(found, format) + "\n")
    else:
        typer.echo(formatted(found, format))


FORMATS = ("table", "csv", "latex", "parquet", "ledger")


def formatted(found: Sequence[Results], format: str) -> str:
    """Results as tables with verdicts, as CSV of every trial, as one LaTeX table, or what the
    trials cost in all."""
    from rethinklab.results.paper_tables import study_table

    if format == "csv":
        return str(whole_frame(found).to_csv(index=False, lineterminator="\n")).rstrip()
    if format == "latex":
        return study_table(found).latex
    if format == "ledger":
        return "\n\n".join(f"{one.name}\n{one.ledger().to_string(float_format='{:,.1f}'.format)}"
                           for one in found)
    return "\n\n".join(map(str, found))


def whole_frame(found: Sequence[Results]) -> pd.DataFrame:
    """Every trial of every study as one table."""
    import pandas as pd

    return pd.concat([one.to_frame() for one in found], ignore_index=True)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="A study, or how its name begins.")],
    second: Annotated[str, typer.Argument(help="Another, such as the same with a control.")],
    regime: Annotated[str, typer.Option(help="Regime of the first.")] = "finetune",
    other: Annotated[str | None, typer.Option(
        help="Regime of the second. [default: the same]")] = None,
    store: StoreOption = "runs",
) -> None:
    """Compare two studies, paired by seed: a method against another, or against its control.

    Example: rethinklab compare l1-vgg16 random-vgg16 --regime finetune
    """
    from rethinklab.experiments.store import Store
    from rethinklab.results import load_studies

    a, b = load_studies(Store(store, create=False), [first, second]).values()
    typer.echo(str(a.against(b, regime, other)))


@app.command()
def status(study: Annotated[str | None, typer.Argument(
               help="A study, or how its name begins. [default: all that are not done]")] = None,
           store: StoreOption = "runs") -> None:
    """What runs, where, and how long it has to go, also in other processes and on other nodes."""
    from rethinklab.experiments.progress import status as find_status
    from rethinklab.experiments.store import Store

    typer.echo(str(find_status(Store(store, create=False), study)))


@app.command()
def doctor(store: StoreOption = "runs") -> None:
    """What works on this machine, what is missing, and how to get it."""
    from rethinklab.doctor import examine

    findings = examine(store)
    for finding in findings:
        typer.echo(f"{'ok  ' if finding.fine else 'MISS' if finding.needed else 'note'}  "
                   f"{finding.topic:12} {finding.text}")
    if any(f.needed and not f.fine for f in findings):
        raise typer.Exit(1)


@app.command()
def lab(options: Annotated[list[str] | None, typer.Argument(
            help="Passed on to JupyterLab; put -- before them.")] = None,
        notebooks: Annotated[Path | None, typer.Option(
            help="Folder to open. [default: the project's notebooks]")] = None) -> None:
    """Open the notebooks in JupyterLab.

    Example: rethinklab lab -- --no-browser --port 8890
    """
    import importlib.util

    folder = notebooks or Path(__file__).resolve().parent.parent / "notebooks"
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}; clone the project for its notebooks, or "
                          "name a folder with --notebooks.")
    if importlib.util.find_spec("jupyterlab") is None:
        raise ConfigError("jupyterlab is not installed; pip install jupyterlab.")
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", str(folder), *(options or [])])


def main() -> None:
    """Entry point: one clear sentence and an exit code instead of a traceback."""
    warnings.showwarning = lambda message, *where, **more: typer.echo(f"note: {message}", err=True)
    try:
        app()
    except RethinkError as error:
        typer.echo(f"rethinklab: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        reason = first_line(error, "no message")
        typer.echo(f"rethinklab: unexpected {type(error).__name__}: {reason}. This looks like a "
                   f"fault of the kit; {TRACEBACK}=1 shows where it is.", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
