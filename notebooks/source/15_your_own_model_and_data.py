# %% [markdown]
# # 15 · Your own model and data
#
# **How do you ask, of your own network and your own images, whether the weights or the architecture make a pruned network good?**

# %% [markdown]
# > **You will be able to** load a folder of images, check it before training, write a network that can be pruned and trained from scratch, read what a plan leaves alone and why, run a paired comparison, and say what it allows you to claim.
# >
# > **You need** [00 · Start here](00_start_here.ipynb) and how an `nn.Module` is written.
# >
# > **Time** about 45 minutes of reading; the computing takes about 15 seconds at most on two CPU cores.

# %%
import os
from tempfile import TemporaryDirectory
import torch
import rethinklab as rl
from rethinklab.notebook.checks import your_own_model_and_data as checks
lab = rl.notebook.start(15)

# %% [markdown]
# ## 1. A folder of images
#
# A folder with one sub-folder for each class is a data set: `birds/train/robin/17.jpg`, `birds/test/robin/3.jpg`. Without `train` and `test` a seeded fifth of each class becomes the test set.
#
# For this page the folder is made from the embedded digit scenes: three digits, reduced to their ink, which is the distance of each pixel from the colour of the paper. PPM, the simplest format of all, is a line of text and the pixels. Everything goes into a temporary folder.
#
# With your own images, put `folder = "path/to/images"` in place of the next cell; leave out the check after it and the clean-up in section 8.

# %%
def ink(images):
    """The scenes in grey: how far each pixel is from the paper, the median of its image."""
    pixels = images.pixels.float()
    paper = pixels.flatten(2).median(2).values[..., None, None]
    grey = (pixels - paper).abs().mean(1, keepdim=True).byte()
    return rl.Images(grey.expand(-1, 3, -1, -1), images.labels)


def write_folder(images, names, place):
    for number, (pixels, label) in enumerate(zip(images.pixels, images.labels.tolist())):
        if label in names:
            os.makedirs(f"{place}/{names[label]}", exist_ok=True)
            with open(f"{place}/{names[label]}/{number:04}.ppm", "wb") as file:
                file.write(b"P6 32 32 255\n" + pixels.movedim(0, -1).numpy().tobytes())


temporary = TemporaryDirectory()
folder = f"{temporary.name}/digits"
digits = rl.load_data("digits").subset(1700, 800)
for part, images in (("train", ink(digits.train)), ("test", ink(digits.test))):
    write_folder(images, {0: "zero", 1: "one", 8: "eight"}, f"{folder}/{part}")

# %% [markdown]
# Decoded pixels are kept in a cache, so that the next load is quick. Here the cache goes into the temporary folder, too.
#
# **Predict.** The labels were in the names of the folders. In which order will the classes be numbered?

# %%
# NBVAL_CHECK_OUTPUT
os.environ["XDG_CACHE_HOME"] = temporary.name
full = rl.load_data(f"folder:{folder}")  # the images as they are
print(full.classes, full.input_shape)
written = ink(digits.test).pixels[torch.isin(digits.test.labels, torch.tensor([0, 1, 8]))]
same = sorted(p.numpy().tobytes() for p in full.test.pixels) == sorted(
    p.numpy().tobytes() for p in written)
print("the test pixels are those that were written:", same)

# %% [markdown]
# **What you see.** Classes are numbered in alphabetical order of their folders. `size=` scales the shorter side of all images to so many pixels and crops the centre; needed where images differ in size, and here it saves time.

# %%
data = rl.load_data(f"folder:{folder}", size=16)
print(data)

# %% [markdown]
# ## 2. Look before you train
#
# Most mistakes in data can be seen. Count the classes, look at the images, and look for test images that are training images, too (exercise 4). Ask whether mirrored images still belong to their class, since images of a folder are mirrored at random in training: fine for birds, wrong for most digits. Hence 0, 1 and 8 here. `dataclasses.replace(data, flip=False)` turns it off.
#
# **Predict.** With three classes, what accuracy does a network that guesses have?

# %%
for part, images in (("training", data.train), ("test", data.test)):
    numbers = torch.bincount(images.labels).tolist()
    print(part, dict(zip(data.classes, numbers)))

# %%
rl.figures.samples(data, rows=2, columns=9)

# %% [markdown]
# **What you see.** Each image is under the name of its class, in grey and small, with fragments of other digits around. The classes are about equally frequent, so an accuracy near one third is a guess.

# %% [markdown]
# ## 3. A network of your own
#
# Any `nn.Module` whose forward pass can be traced will do. This one has two residual blocks. It draws its weights by He's rule, which is not PyTorch's default.
#
# Scratch training must draw new weights *by the rule that the large network had*, or it starts with a handicap. `plan.scratch` calls each layer's `reset_parameters`, and then the network's own `initialise()`, if there is one. So the rule is written there, and used by the constructor as well.

# %%
def conv(inputs, filters):
    layer = torch.nn.Conv2d(inputs, filters, 3, padding=1, bias=False)
    return layer, torch.nn.BatchNorm2d(filters)


class Block(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = torch.nn.Sequential(*conv(width, width), torch.nn.ReLU(), *conv(width, width))

    def forward(self, x):
        return torch.relu(x + self.body(x))


# %%
class SmallNet(torch.nn.Sequential):
    def __init__(self, num_classes, width=16):
        super().__init__(
            *conv(3, width), torch.nn.ReLU(), torch.nn.MaxPool2d(2), Block(width),
            *conv(width, 2 * width), torch.nn.ReLU(), torch.nn.MaxPool2d(2), Block(2 * width),
            torch.nn.AdaptiveMaxPool2d(1), torch.nn.Flatten(),
            torch.nn.Linear(2 * width, num_classes))
        self.initialise()

    def initialise(self):
        for layer in self.modules():
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def build(seed):
    with rl.seeds.global_stream(seed, "init"):  # so that the seed decides the weights
        return SmallNet(data.num_classes)


# %% [markdown]
# **Predict.** Which layers of `SmallNet` can lose filters? Think of the sums.

# %%
# NBVAL_CHECK_OUTPUT
print("drawn otherwise from scratch:", rl.models.initialise.initialisation_differs(build(0)))
print(rl.pruners.L1Norm("macs:0.6").fit(build(0), data).report)

# %% [markdown]
# **What you see.** No layer is drawn otherwise from scratch than at first. Only the first convolution of each block can be pruned. The layer before a block and the block's second convolution add into one sum, which keeps its width, and the last layer gives the classes. An untrained network serves for this look: a target that cannot be met, or a forward pass that cannot be traced, fails here and not after a night of training.

# %% [markdown]
# ## 4. Does it learn at all?
#
# Two cheap tests. A network that cannot learn a handful of images by heart, without crops and mirrors, has a defect: a wrong loss, mixed-up labels, a rate that is far off. Then a full training, measured on *held-out training images*, since choices follow from it.
#
# **Predict.** How many of 32 training images will the network know after 30 passes?

# %%
few = data.subset(32, 32).train
handful = rl.ImageData("a handful", few, few, data.classes, data.mean, data.std, pad=0, flip=False)
by_heart = rl.train(build(0), handful, rl.Recipe(epochs=30, lr=0.03, batch_size=16),
                    progress=False)
print(f"{by_heart.test_accuracy:.0%} of {len(few)} training images are known by heart")

# %%
held = data.hold_out(0.2)
recipe = rl.Recipe(epochs=4, lr=0.03, batch_size=32)
large = rl.train(build(0), held, recipe, progress=False)
print(f"untrained: {rl.evaluate(build(0), held)[0]:.1%}, trained: {large.test_accuracy:.1%} of "
      f"{len(held.test)} held-out images")

# %%
rl.figures.learning_curves(large.history.assign(regime="unpruned", seed=0))

# %% [markdown]
# **What you see.** The network learns, and the accuracy (of the held-out images, which take the place of the test images) still rises in the last epoch: it has not finished. That matters later. A large network that has learnt little leaves little to inherit, and then the comparison says little about pruning. With your data, train until the curve is level.

# %% [markdown]
# ## 5. Prune by two methods
#
# L1-norm ([02](02_l1_norm.ipynb)) looks at weights alone; ThiNet ([03](03_thinet.ipynb)) looks at what the next layer misses. Both leave 60 % of the multiply-adds here.
#
# **Predict.** Will they keep the same filters? Which network will do better right after the cut?

# %%
plans = {"l1": rl.pruners.L1Norm("macs:0.6").fit(large.model, held),
         "thinet": rl.pruners.ThiNet("macs:0.6", images=100).fit(large.model, held)}
for name, plan in plans.items():
    accuracy, _ = rl.evaluate(plan.apply(large.model), held)
    print(f"{name:7} {plan.after.macs / plan.before.macs:.0%} of MACs, {accuracy:.1%} as pruned")
for layer, kept in plans["l1"].keep.items():
    both = len(set(kept) & set(plans["thinet"].keep[layer]))
    print(f"{layer}: each keeps {len(kept)} of {plan.widths[layer]}, {both} in common")

# %%
rl.figures.widths(plans["l1"])

# %% [markdown]
# **What you see.** Both methods arrive at this architecture and fill it with different filters. With so few held-out images, a few points between them are chance. One cut of one network does not tell which method is better: compare seeds, as next.

# %% [markdown]
# ## 6. The paired comparison
#
# One pair: a large network, its plan, and the pruned network trained both ways, on the same images in the same order. Pairs differ in their seed. What is compared is decided before: Scratch-E minus Fine-tuned, by L1-norm, four pairs, a margin of one percentage point. Only now are the test images used.
#
# **Predict.** Which of the two will be ahead, and will four pairs decide it?

# %%
def pair(seed):
    large = rl.train(build(seed), data, recipe, seed=seed, progress=False)
    plan = rl.pruners.L1Norm("macs:0.6").fit(large.model, data)
    starts = {"finetune": plan.apply(large.model), "scratch-e": plan.scratch(large.model, seed)}
    accuracy = {"unpruned": 100 * large.test_accuracy}
    for name, start in starts.items():
        budget = rl.REGIMES[name].budget(recipe, plan.flops_ratio)
        trained = rl.train(start, data, budget, seed=seed, progress=False)
        accuracy[name] = 100 * trained.test_accuracy
    return accuracy


pairs = [pair(seed) for seed in range(4)]
for seed, accuracy in enumerate(pairs):
    print(seed, "  ".join(f"{name} {value:5.1f}" for name, value in accuracy.items()))

# %%
tuned, scratch = ([p[name] for p in pairs] for name in ("finetune", "scratch-e"))
comparison = rl.compare_paired(scratch, tuned, margin=1.0, names=("Scratch-E", "Fine-tuned"))
print(comparison)

# %% [markdown]
# One number of that sentence can be checked by hand. If the two ways were alike, each difference could as well have had the other sign. The *sign-flip test* goes through all choices of signs and counts how often the sum is at least as far from zero as the one that was found.

# %%
differences = torch.tensor(scratch) - torch.tensor(tuned)
signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * len(differences))
as_far = (signs @ differences).abs() >= differences.sum().abs() - 1e-6
print(f"{len(signs)} choices of signs, {int(as_far.sum())} as far, p = {as_far.float().mean():.3f}")
print("the package agrees:", abs(float(as_far.float().mean()) - comparison.p_signflip) < 1e-6)

# %% [markdown]
# **What you see.** Fine-tuned is ahead in some seeds and Scratch-E in others, and the differences vary by more than their mean. The verdict is *not decided*: neither that one is better nor that both are alike. Four pairs could not have reached p = 0.05 in the sign-flip test at all, since 2 of 16 choices of signs are always as far.

# %% [markdown]
# ## 7. How many pairs?
#
# The spread of the differences in a pilot says how many pairs a study needs. With few pairs this spread is itself uncertain, so plan for more.
#
# **Predict.** To show a difference of half the size, how many times as many pairs does it take?

# %%
sd = comparison.sd
print(f"the pilot: the differences have a standard deviation of {sd:.1f} points")
for size in (4.0, 2.0, 1.0):
    print(f"80 % power for a difference of {size:g} points: "
          f"{rl.pairs_for(0.8, difference=size, sd=sd)} pairs")
print(f"to show equivalence within 1 point: {rl.pairs_for(0.8, 0.0, sd, margin=1.0)} pairs")

# %% [markdown]
# **What you see.** Halving the difference takes about four times as many pairs once they are many. Small differences between small networks on few images are dear to show. More test images and longer training make the spread smaller, which is often cheaper than more seeds.

# %% [markdown]
# ## 8. The same on the command line, and on a GPU
#
# A study on the command line stores every network, goes on after a stop, and gives table and verdict. It takes a network of yours by name: put `SmallNet` into a file `mynets.py`, with the function
#
# ```python
# def small(num_classes):
#     return SmallNet(num_classes)
# ```
#
# and run, in the same folder,
#
# ```bash
# rethinklab run --data folder:~/birds --size 32 --model mynets:small \
#     --method l1 --target macs:0.6 --epochs 40 --lr 0.03 --batch-size 32 --seeds 6
# rethinklab run --data folder:~/birds --size 32 --model mynets:small \
#     --method random --target macs:0.6 --epochs 40 --lr 0.03 --batch-size 32 --seeds 6
# rethinklab results
# ```
#
# The second is the control: random filters.

# %% [markdown]
# In Python:
#
# ```python
# study = rl.Study(dataset="folder:~/birds", size=32, model="mynets:small", method="l1",
#                  target="macs:0.6", seeds=6, margin=1.0,
#                  recipe=rl.Recipe(epochs=40, lr=0.03, batch_size=32))
# results = rl.run(study, store="runs")
# print(results.compare("scratch-b", "finetune"))
# ```
#
# A GPU is used by itself where torch sees one; `rethinklab doctor` says whether it does. `--precision bf16` computes faster there. Results on a GPU do not repeat to the bit. `--tune 0.01,0.03,0.1` chooses a learning rate for each way of training, on held-out images, so that none is favoured.

# %% [markdown]
# This page cleans up after itself: folder and cache go.

# %%
# NBVAL_CHECK_OUTPUT
temporary.cleanup()
del os.environ["XDG_CACHE_HOME"]
print("left on disk:", os.path.exists(temporary.name))

# %% [markdown]
# ## 9. A checklist for an honest claim
#
# 1. The question, the regimes, the margin and the number of pairs were written down before the results.
# 2. The large network has learnt its task; its curve is level.
# 3. Choices were made on held-out training images, with equal effort for each side.
# 4. Scratch draws its weights by the rule of the large network.
# 5. Budgets are named: Scratch-E, Scratch-B, or what fine-tuning was given.
# 6. A control was run, such as random filters.
# 7. Pairs share seed and data order; n and interval are reported.
# 8. *Not decided* is reported as such, and not as *no difference*.
# 9. The claim names network, data, ratio and method, and no more.

# %% [markdown]
# ## 10. What this does not show
#
# - Anything about digits, L1-norm or ThiNet in general: the network is tiny and the training short, to fit on this page.
# - What a better fine-tuning would give. Scratch-E has four times its epochs here, at a higher rate; [13 · Fair budgets](13_fair_budgets.ipynb) compares recipes.
# - That four pairs are enough. They are a pilot.
# - Networks that tracing cannot follow, such as those whose forward pass depends on values. The error names the reason.

# %% [markdown]
# ## 11. Recall
#
# 1. How does a folder say which class an image has?
# 2. What goes wrong without `initialise()` in a network with its own rule?
# 3. Why is a layer that feeds a sum left alone?
# 4. What do two networks of a pair share?
# 5. Which images decide a learning rate, and which the final accuracy?
# 6. What is the difference between *equivalent* and *not decided*?

# %% [markdown]
# ## 12. Exercises
#
# The answers use names from the cells above, so run those first. Write in place of the dots, run the cell, then run the check below it.

# %% [markdown]
# **Exercise 1.** *Easy, 5 minutes.* A guesser always says the class that has most *training* images. What accuracy has it on the test images of `data`? Give a fraction.

# %% exercise="baseline" points=1
### BEGIN SOLUTION
usual = torch.bincount(data.train.labels).argmax()
baseline = (data.test.labels == usual).float().mean().item()
### END SOLUTION

# %% check="baseline"
lab.check(checks.baseline, baseline, data)

# %% [markdown] hint="baseline"
# `torch.bincount(labels)` counts the images of each class.

# %% [markdown]
# **Exercise 2.** *Easy, 5 minutes.* Somebody who has seen the results sets the margin of section 6 to 30 points. What could then be claimed for Scratch-E against Fine-tuned: "better", "worse", "equivalent" or "not decided"? Give one of the four words, and ask yourself what it is worth.

# %% exercise="allowed_claim" points=1
### BEGIN SOLUTION
claim = rl.compare_paired(scratch, tuned, margin=30.0).verdict
### END SOLUTION

# %% check="allowed_claim"
lab.check(checks.allowed_claim, claim, rl.compare_paired(scratch, tuned, margin=30.0))

# %% [markdown] hint="allowed_claim"
# Call `rl.compare_paired` as in section 6 with that margin, and read the last part of its sentence.

# %% [markdown]
# **Exercise 3.** *Medium, 10 minutes.* A pilot has differences with a standard deviation of 2 points. How many pairs show, with 80 % power, that two ways of training are equivalent within 1 point, if there is no true difference?

# %% exercise="equivalence_pairs" points=1
### BEGIN SOLUTION
needed = rl.pairs_for(0.8, difference=0.0, sd=2.0, margin=1.0)
### END SOLUTION

# %% check="equivalence_pairs"
lab.check(checks.equivalence_pairs, needed, sd=2.0, margin=1.0)

# %% [markdown] hint="equivalence_pairs"
# Section 7 has the call. With `margin=` it asks for equivalence.

# %% [markdown]
# **Exercise 4.** *Medium, 15 minutes.* Write a function that counts the test images which are, pixel for pixel, training images. A leaked image that the test set holds twice counts twice.

# %% exercise="leaks" points=2
def leaks(data):
    ### BEGIN SOLUTION
    seen = {pixels.numpy().tobytes() for pixels in data.train.pixels}
    return sum(pixels.numpy().tobytes() in seen for pixels in data.test.pixels)
    ### END SOLUTION

# %% check="leaks"
lab.check(checks.leaks, leaks)

# %% [markdown] hint="leaks"
# `pixels.numpy().tobytes()` makes of an image something that a set can hold.

# %% [markdown] more="leaks"
# `leaks(data)` should be 0 for your folder, too. Copies that were scaled or saved anew are not found so; for these compare small versions of the images.

# %% [markdown]
# **Exercise 5.** *Hard, 20 minutes.* This network has a parameter that no layer draws: `scale`. As it stands, `plan.scratch` refuses it. Write `initialise`: `scale` starts at 1, the convolution is normal with standard deviation 0.1, and the linear layer stays as PyTorch draws it.

# %% exercise="own_rule" points=3
class Scaled(torch.nn.Module):
    def __init__(self, num_classes=3):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 16, 3, bias=False)
        self.scale = torch.nn.Parameter(torch.empty(16, 1, 1))
        self.head = torch.nn.Linear(16, num_classes)
        self.initialise()

    def forward(self, images):
        return self.head(torch.relu(self.scale * self.conv(images)).mean((2, 3)))

    def initialise(self):
        ### BEGIN SOLUTION
        torch.nn.init.normal_(self.conv.weight, std=0.1)
        torch.nn.init.ones_(self.scale)
        ### END SOLUTION

# %% check="own_rule"
lab.check(checks.own_rule, Scaled)

# %% [markdown] hint="own_rule"
# `torch.nn.init` has functions that fill a tensor in place. `plan.scratch` has reset the linear layer before it calls `initialise`.

# %% [markdown]
# ## 13. Where to go next
#
# [13 · Fair budgets](13_fair_budgets.ipynb) says what fine-tuning and scratch training should be given. [14 · Paper figures](14_paper_figures.ipynb) turns results into figures and tables. [01 · Networks and cost](01_networks_and_cost.ipynb) explains what pruning can and cannot remove.

# %% [markdown]
# ## References
#
# - Z. Liu, M. Sun, T. Zhou, G. Huang, T. Darrell. Rethinking the value of network pruning. ICLR 2019. [doi:10.48550/arXiv.1810.05270](https://doi.org/10.48550/arXiv.1810.05270)
# - K. He, X. Zhang, S. Ren, J. Sun. Delving deep into rectifiers. ICCV 2015. [doi:10.48550/arXiv.1502.01852](https://doi.org/10.48550/arXiv.1502.01852)
# - H. Li, A. Kadav, I. Durdanovic, H. Samet, H. P. Graf. Pruning filters for efficient ConvNets. ICLR 2017. [doi:10.48550/arXiv.1608.08710](https://doi.org/10.48550/arXiv.1608.08710)
# - J.-H. Luo, J. Wu, W. Lin. ThiNet: a filter level pruning method for deep neural network compression. ICCV 2017. [doi:10.48550/arXiv.1707.06342](https://doi.org/10.48550/arXiv.1707.06342)
