"""What commands can be told: their options and arguments, each declared once with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

# of several commands
Store = Annotated[str, Option("--store", help="Folder of the results.")]
Workers = Annotated[int | None, Option(
    help="Worker processes; 0 for none. [default: one a core, or as many as help on a GPU]")]
Seeds = Annotated[str | None, Option(
    help="How many seeds, or which: 5, or 0,3,7. [default: by scale]")]
Device = Annotated[str, Option(help="auto, cpu, cuda, cuda:1, mps (Apple) or xpu (Intel).")]

# of a study
Preset = Annotated[str | None, Argument(
    help="A row of the paper, such as l1-vgg16-cifar10; see `rethinklab list presets`.")]
Data = Annotated[str | None, Option(
    help="digits, cifar10, cifar100, folder:PATH, imagenet:PATH, or your own as "
         "package.module:function. [default: digits]")]
Model = Annotated[str | None, Option(
    help="A network of the kit, or your own as package.module:function, importable from the "
         "current folder. [default: the method's example]")]
Method = Annotated[str | None, Option(
    help="How to prune: a method of the kit, or your own as package.module:Name, importable "
         "from the current folder. [default: l1]")]
Target = Annotated[str | None, Option(
    help="A published target (A), a ratio to remove (0.4), a budget that is left "
         "(macs:0.5 or params:0.3), or JSON {layer: ratio or width}. "
         "[default: the method's example]")]
MethodOptions = Annotated[list[str] | None, Option(
    help="A hyper-parameter of the method as NAME=VALUE; repeat for more.")]
ModelOptions = Annotated[list[str] | None, Option(
    help="An option of the network as NAME=VALUE, such as variant=slimming.")]
Regimes = Annotated[str | None, Option(
    help="How to train what is left, by commas. [default: by method]")]
Scale = Annotated[str, Option(
    help="quick, classroom, short or paper: defaults for all that follows.")]
Width = Annotated[float | None, Option(
    help="Width multiplier of the network. [default: by scale; 1 for your own]")]
Epochs = Annotated[int | None, Option(help="Epochs of the large network. [default: by scale]")]
LearningRate = Annotated[float | None, Option(help="Initial learning rate. [default: by scale]")]
BatchSize = Annotated[int | None, Option(help="Images in a training step. [default: 64]")]
Margin = Annotated[float | None, Option(
    help="Regimes within so many percentage points count as equivalent. [default: by scale]")]
Images = Annotated[int | None, Option(
    help="At most so many training and so many test images. [default: all]")]
Size = Annotated[int | None, Option(
    help="Side in pixels for a folder of images. [default: their own]")]
Root = Annotated[str | None, Option(help="Where CIFAR lies or is downloaded to.")]
Normalise = Annotated[str | None, Option(
    help="own: CIFAR by its own mean and standard deviation. [default: the study's]")]
Precision = Annotated[str, Option(help="fp32, or bf16 to compute faster on a GPU.")]

# of how and where it runs
SyncBatchNorm = Annotated[bool, Option(
    "--sync-batchnorm", help="Under torchrun, on GPUs: normalise over whole batches instead of "
                             "each process's part.")]
Threads = Annotated[int, Option(help="Threads of each worker.")]
Engine = Annotated[str, Option(
    help="Where trials run: local, ray (a cluster) or slurm (job arrays).")]
TimeLimit = Annotated[str | None, Option(
    help="Stop cleanly before so much time is over, such as 25m or 1h30m; the same command "
         "goes on.")]
Tune = Annotated[str | None, Option(
    help="First choose each arm's learning rate on held-out training images, among these "
         "multiples of its usual one: 0.3,1,3.")]
TensorBoard = Annotated[str | None, Option(
    help="Also write TensorBoard event files into this folder.")]
GpusPerTrial = Annotated[float | None, Option(
    help="Share of a GPU for each trial (ray and slurm). [default: by engine]")]
Slurm = Annotated[list[str] | None, Option(
    help="An option of the job as NAME=VALUE, such as partition=gpu or time=4h.")]
Queue = Annotated[Path | None, Option(
    help="Run the studies of this TOML file instead, in order, and record each.")]
Record = Annotated[Path, Option(
    help="Where the studies of a queue are recorded; what is there, or beside the queue, is "
         "passed over.")]
Only = Annotated[list[str] | None, Option(
    help="Of the queue the study of this name; repeat for more.")]
Out = Annotated[str | None, Option(help="Also draw the figure into this folder.")]
