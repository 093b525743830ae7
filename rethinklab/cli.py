"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rethinklab.errors import ConfigError, RethinkError, unknown_name

if TYPE_CHECKING:
    from rethinklab.experiments.results import Results
    from rethinklab.experiments.study import Study

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
           "130 interrupted. Whatever was finished is stored, and the next run goes on from it.")

StoreOption = Annotated[str, typer.Option("--store", help="Folder of the results.")]
WorkersOption = Annotated[int | None, typer.Option(
    help="Worker processes; 0 for none. [default: one a core, or one on a GPU]")]
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
    conduct(study, store, workers=workers, out=out or str(Path(store) / "figures"))


@app.command()
def run(
    preset: Annotated[str | None, typer.Argument(
        help="A row of the paper, such as l1-vgg16-cifar10; see `rethinklab list presets`.")
    ] = None,
    data: Annotated[str | None, typer.Option(
        help="digits, cifar10, cifar100, folder:PATH or imagenet:PATH. [default: digits]")] = None,
    model: Annotated[str | None, typer.Option(
        help="A network of the kit, or your own as package.module:function, importable from the "
             "current folder. [default: the method's example]")] = None,
    method: Annotated[str | None, typer.Option(help="How to prune. [default: l1]")] = None,
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
    size: Annotated[int | None, typer.Option(
        help="Side in pixels for a folder of images. [default: their own]")] = None,
    root: Annotated[str | None, typer.Option(help="Where CIFAR lies or is downloaded to.")] = None,
    precision: Annotated[str, typer.Option(help="fp32, or bf16 to compute faster on a GPU."
                                           )] = "fp32",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    workers: WorkersOption = None,
    threads: Annotated[int, typer.Option(help="Threads of each worker.")] = 1,
    store: StoreOption = "runs",
    out: Annotated[str | None, typer.Option(help="Also draw the figure into this folder.")] = None,
) -> None:
    """Run a study, or what is missing of it, and show its table and verdict.

    Examples:

    rethinklab run l1-vgg16-cifar10 --scale paper

    rethinklab run --data folder:~/birds --size 32 --model vgg16 --target 0.4 --seeds 6
    """
    from dataclasses import replace

    from rethinklab.experiments import paper
    from rethinklab.experiments.scales import find_scale
    from rethinklab.experiments.study import Study

    settings: dict[str, Any] = paper.preset(preset) if preset else {}
    given = {"dataset": data, "model": model, "method": method,
             "target": None if target is None else parse_target(target),
             "regimes": regimes.split(",") if regimes else None, "seeds": parse_seeds(seeds),
             "method_options": parse_options(option or []),
             "model_options": parse_options(model_option or []),
             "width": width, "margin": margin, "size": size, "root": root}
    settings |= {name: value for name, value in given.items() if value is not None}
    changes: dict[str, Any] = {"epochs": epochs, "lr": lr, "batch_size": batch_size}
    changes = {name: value for name, value in changes.items() if value is not None}
    if changes:
        settings["recipe"] = replace(find_scale(scale).recipe, **changes)
    study = Study(scale=scale, precision=precision, **settings)
    conduct(study, store, workers=workers, threads=threads, device=device, out=out)


def conduct(study: Study, store: str, out: str | None = None, **options: Any) -> None:
    """Run a study and print what it found."""
    from rethinklab.experiments.runner import run as run_study

    try:
        results = run_study(study, store, **options)
    except KeyboardInterrupt:
        typer.echo("\nrethinklab: interrupted; what was finished is stored, and the same command "
                   "goes on from there.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    typer.echo(f"\n{results}\n")
    typer.echo(f"Stored as {results.name} in {store}.")
    if out is not None:
        from rethinklab.figures import export, regimes

        paths = export(regimes(results), f"regimes-{results.name}", out)
        typer.echo("Figure: " + " and ".join(str(p) for p in paths if p.suffix in (".pdf", ".png")))


@app.command(name="list")
def list_(what: Annotated[str, typer.Argument(
        help="models, methods, presets, regimes, datasets, scales or figures.")] = "") -> None:
    """What there is to choose from."""
    def models() -> dict[str, str]:
        from rethinklab.models import MODELS
        return {name: text for name, (_, text) in MODELS.items()}

    def methods() -> dict[str, str]:
        from rethinklab.pruners import METHODS
        return {name: summary_line(pruner) for name, pruner in METHODS.items()}

    def presets() -> dict[str, str]:
        from rethinklab.experiments.paper import PRESET_MEANINGS
        return PRESET_MEANINGS

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
        from rethinklab.figures import FIGURES
        return {name: text for name, (_, text) in FIGURES.items()}

    kinds = {f.__name__: f for f in (models, methods, presets, regimes, datasets, scales, figures)}
    if what not in kinds:
        raise unknown_name("list", what, kinds)
    rows = kinds[what]()
    wide = max(map(len, rows))
    for name, text in rows.items():
        typer.echo(f"{name:{wide}}  {text}")


def summary_line(thing: Any) -> str:
    """First sentence of a docstring."""
    first = (thing.__doc__ or "").strip().split("\n\n")[0]
    return " ".join(first.split()).partition(". ")[0].rstrip(".") + "."


@app.command()
def results(
    study: Annotated[str | None, typer.Argument(
        help="Name of a study, or how it begins; without one, all are listed.")] = None,
    store: StoreOption = "runs",
    format: Annotated[str, typer.Option(help="table, csv or latex.")] = "table",
) -> None:
    """Show stored results: the table and verdict of a study, also while it runs."""
    from rethinklab.experiments.results import stored_results
    from rethinklab.experiments.store import Store

    place = Store(store, create=False)
    if study is None:
        names = place.studies()
        typer.echo("\n".join(names) if names else "No study is stored here yet.")
        return
    typer.echo(formatted(stored_results(study, place), format))


def formatted(found: Results, format: str) -> str:
    """Results as a table with verdicts, as CSV of every trial, or as a LaTeX table."""
    if format == "table":
        return str(found)
    if format == "csv":
        return found.to_csv().rstrip()
    if format == "latex":
        return str(found.table().to_latex(index=False, escape=True,
                                          caption=escape_latex(found.label))).rstrip()
    raise unknown_name("format", format, ["table", "csv", "latex"])


def escape_latex(text: str) -> str:
    """Text with the characters that mean something to LaTeX made harmless."""
    return re.sub(r"([&%$#_{}])", r"\\\1", text)


@app.command()
def figures(
    names: Annotated[list[str] | None, typer.Argument(
        help="Which figures; all by default. See `rethinklab list figures`.")] = None,
    study: Annotated[str | None, typer.Option(
        help="A stored study, or how its name begins.")] = None,
    csv: Annotated[Path | None, typer.Option(
        "--from", help="A CSV of results instead, such as those under data/results.")] = None,
    store: StoreOption = "runs",
    out: Annotated[str, typer.Option(help="Folder to write to.")] = "figures",
    format: Annotated[str, typer.Option(help="By commas: pdf, png, svg.")] = "pdf,png",
) -> None:
    """Draw figures from stored results, each with its numbers (CSV) and origin (JSON)."""
    from rethinklab.experiments.results import Results, stored_results
    from rethinklab.experiments.store import Store
    from rethinklab.figures import FIGURES, export

    if (study is None) == (csv is None):
        raise ConfigError("say what to draw from: --study NAME or --from FILE.csv.")
    found = stored_results(study, Store(store, create=False)) if study else Results.load(csv)
    for name in names or FIGURES:
        if name not in FIGURES:
            raise unknown_name("figure", name, FIGURES)
        stem = f"{name}-{csv.stem if csv else found.name}"
        for path in export(FIGURES[name][0](found), stem, out, format.split(",")):
            typer.echo(str(path))


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


def parse_seeds(text: str | None) -> int | list[int] | None:
    """A count ("5") or a list ("0,3,7")."""
    if text is None:
        return None
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"seeds {text!r} must be a count such as 5 or a list such as 0,3,7."
                          ) from error
    return numbers if "," in text else numbers[0]


def parse_target(text: str) -> Any:
    """A ratio, JSON with layers, or a published name."""
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except ValueError as error:
            raise ConfigError(f"target {text!r} is not valid JSON ({error}).") from error
    if text.isdigit() and text not in ("0", "1"):
        return text  # the name of a published target, such as ThiNet's 30
    try:
        return float(text)
    except ValueError:
        return text


def parse_options(texts: list[str]) -> dict[str, Any]:
    """{"NAME": value} from "NAME=VALUE", the value read as JSON where it is such."""
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"option {text!r} must have the form NAME=VALUE, for example "
                              "strength=0.001.")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


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
        reason = (str(error).strip().splitlines() or ["no message"])[0]
        typer.echo(f"rethinklab: unexpected {type(error).__name__}: {reason}. This looks like a "
                   f"fault of the kit; {TRACEBACK}=1 shows where it is.", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
