# %% [markdown]
# # 06 · Sparse structure selection
#
# **Can training itself switch off channels and whole branches, so exactly that removing them changes nothing?**

# %% [markdown]
# > **You will be able to** write the proximal step that makes scales exactly zero, say why a sub-gradient does not, remove channels and residual branches without changing any output, and judge what is left when it is trained anew.
# >
# > **You need** [05 · Network slimming](05_network_slimming.ipynb) and a rough idea of gradient descent with momentum.
# >
# > **Time** about 40 minutes of reading; the computing takes about 15 seconds at most on two CPU cores.

# %%
import pandas as pd, torch, rethinklab as rl
from rethinklab.notebook import start
from rethinklab.notebook.checks import sparse_structure_selection as checks
lab = start(6)

# %% [markdown]
# ## 1. A step that reaches zero, in full
#
# Huang and Wang (2018) multiply the output of each *structure* (a channel, a group, a residual branch) by a **scale** $\lambda$, and train the scales with the loss plus $\gamma \sum |\lambda|$. (In notebook 05 $\gamma$ was the scale.)
#
# The **proximal step** treats the two parts apart. First a gradient step on the loss alone, then the *soft threshold*: every scale comes nearer to zero by $\eta\gamma$, and stops *at* zero. $\eta$ is the learning rate. Momentum comes in as in Nesterov's method: the gradient is taken at a *look-ahead point*.
#
# **Predict.** What is the soft threshold of 0.5 for the values 2, 0.3 and -0.7?

# %%
# NBVAL_CHECK_OUTPUT
def soft(values, amount):
    return values.sign() * (values.abs() - amount).clamp(min=0)


def proximal(scale, speed, gradient, lr, strength, momentum=0.9):
    ahead = scale + momentum * speed  # where the momentum leads
    new = soft(ahead - lr * gradient(ahead), lr * strength)
    return new, new - scale


def sub_gradient(scale, speed, gradient, lr, strength, momentum=0.9):  # as network slimming does
    speed = momentum * speed - lr * (gradient(scale) + strength * scale.sign())
    return scale + speed, speed


def run(method, gradient, strength, steps=200, lr=0.05):
    scale, speed = torch.ones(5), torch.zeros(5)
    path = [scale]
    for _ in range(steps):
        scale, speed = method(scale, speed, gradient, lr, strength)
        path.append(scale)
    return torch.stack(path)


print([round(value, 2) for value in soft(torch.tensor([2.0, 0.3, -0.7]), 0.5).tolist()])

# %% [markdown]
# A toy with a known answer: each scale has a value $a$ that suits the loss best, $\frac{1}{2}(\lambda - a)^2$. With the penalty, the minimum lies at the soft threshold of $a$.
#
# **Predict.** Five values of $a$ are 1.5, 0.8, -0.6, 0.3 and -0.2, and $\gamma$ is 0.4. Which scales should vanish? Which will be exactly zero after 200 steps, by each method?

# %%
# NBVAL_CHECK_OUTPUT
best, strength = torch.tensor([1.5, 0.8, -0.6, 0.3, -0.2]), 0.4
solution = soft(best, strength)
paths = {"sub-gradient": run(sub_gradient, lambda scale: scale - best, strength),
         "proximal step": run(proximal, lambda scale: scale - best, strength)}
for name, path in paths.items():
    print(f"{name:14} solution reached: {torch.allclose(path[-1], solution, atol=1e-4)}, "
          f"exact zeros: {int((path[-1] == 0).sum())} of {int((solution == 0).sum())}")
theirs = rl.pruners.sss.StructureScale(torch.arange(5))
for _ in range(200):
    theirs.ahead.grad = theirs.ahead.detach() - best
    theirs.step(0.05, strength, 0.9)
print("same as the package:", torch.allclose(theirs.scale, paths["proximal step"][-1], atol=1e-6))

# %%
rows = [(method, step, f"a = {a:+.1f}", float(value), float(end))
        for method, path in paths.items() for step, scales in enumerate(path)
        for a, value, end in zip(best.tolist(), scales, solution)]
frame = pd.DataFrame(rows, columns=["method", "step", "scale", "value", "solution"])
figure = rl.figures.scale_paths(frame)
print(figure.caption)
figure

# %% [markdown]
# **What you see.** With both methods the scales that should vanish swing through zero at first, because momentum carries them past it. The proximal step then holds them at zero for good. The sub-gradient pushes them by a fixed amount at every step, from one side of zero to the other, and they never come to rest.

# %% [markdown]
# ## 2. Channels that switch themselves off
#
# In a network the scales multiply the weights of each channel's batch normalisation, so a scale of zero makes the channel's output zero. The package trains scales and weights together and multiplies the scales in at the end.
#
# The paper trains them from the start. A few seconds are too short for that, so here a network that was trained as usual for four epochs goes on for three more with scales. The strength was chosen by trying a few on the held-out images.
#
# **Predict.** The penalty is the same for each channel. Will each layer lose the same share?

# %%
data = rl.load_data("digits")
held = data.subset(3000, 500).hold_out(0.1)
large = rl.train(rl.build_model("vgg11", width=0.125), held, rl.Recipe(epochs=4, lr=0.05),
                 progress=False)
selection = rl.pruners.SparseSelection("zero", strength=0.025)
recipe = rl.Recipe(epochs=3, lr=0.05, batch_size=32, nesterov=True, milestones=(2 / 3,))
sparse = rl.train(large.model, held, recipe, callbacks=selection.during(held), progress=False)
print(f"after four epochs as usual   {large.test_accuracy:.1%}")
print(f"after three more with scales {sparse.test_accuracy:.1%} of {len(held.test)} held-out images")

# %%
plan = selection.fit(sparse.model, held)
print(f"MACs left: {plan.after.macs / plan.before.macs:.1%}, "
      f"parameters left: {plan.after.params / plan.before.params:.1%}")
rl.figures.widths(plan)

# %% [markdown]
# **What you see.** Each layer loses channels, but not the same share: the layers in the middle keep most, those at both ends least. The accuracy is higher than before because the network has trained for longer.

# %% [markdown]
# ## 3. What the removal changes
#
# Most methods of this series damage the network when they cut, and repair it afterwards.
#
# **Predict.** How large will the largest difference between the outputs before and after the cut be?

# %%
def outputs(model):
    with torch.no_grad():
        return model.eval()(images)


images = torch.randn(64, *data.input_shape, generator=torch.Generator().manual_seed(0))
small = plan.apply(sparse.model)
difference = (outputs(sparse.model) - outputs(small)).abs().max()
print(f"agree to 1e-5: {bool(difference < 1e-5)}")
print(f"held-out accuracy {rl.evaluate(sparse.model, held)[0]:.1%} before the cut, "
      f"{rl.evaluate(small, held)[0]:.1%} after it")

# %% [markdown]
# **What you see.** What is cut here is zero already, so outputs and accuracy stay what they were, up to rounding. What training with the scales has cost in accuracy is paid before the cut, not by the cut.

# %% [markdown]
# The sub-gradient of network slimming trains scales under the same kind of penalty, on the scales of batch normalisation. Here it acts for one epoch, strongly enough to bring scales to zero so soon; then as many channels go as above.
#
# **Predict.** How many of its scales are exactly zero? What will the cut do to the outputs?

# %%
removed = 1 - sum(plan.kept_widths.values()) / sum(plan.widths.values())
slimming = rl.pruners.Slimming(removed, strength=0.03, minimum=1)
slimmed = rl.train(large.model, held.subset(1350), rl.Recipe(epochs=1, lr=0.05, batch_size=32),
                   callbacks=slimming.during(held), progress=False).model
cut = slimming.fit(slimmed, held).apply(slimmed)
scales = torch.cat([layer.weight.detach().abs() for layer in slimmed.modules()
                    if isinstance(layer, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d))])
print(f"scales below 0.01: {int((scales < 0.01).sum())} of {len(scales)}, "
      f"exact zeros: {int((scales == 0).sum())}")
print(f"agree to 1e-5: {bool((outputs(slimmed) - outputs(cut)).abs().max() < 1e-5)}")

# %% [markdown]
# **What you see.** Some scales are close to zero by now, and none is zero. So a threshold has to say what is small enough, the cut changes the outputs, and fine-tuning has something to repair.

# %% [markdown]
# ## 4. Whole branches
#
# A block of a residual network adds a *branch* of two or three convolutions to a shortcut. If the branch's output is zero, the block passes on what its shortcut carries, and the branch can go as a whole: the network becomes less deep. So one scale on a branch decides about all its layers at once.
#
# To look at the removal alone, two branches of an untrained network are set to zero by hand, as training would with a strong penalty.
#
# **Predict.** The first is in the second stage, the other in the third, on smaller maps with more channels. Which of them saves more MACs?

# %%
# NBVAL_CHECK_OUTPUT
residual = rl.build_model("resnet20", width=0.25).eval()
for name in ("layer2.1", "layer3.1"):
    last = residual.get_submodule(f"{name}.bn2")
    last.weight.data.zero_(), last.bias.data.zero_()
branches = rl.pruners.SparseSelection("zero", structures="branches").fit(residual, data)
shallow = branches.apply(residual)
print("branches that go:", branches.branches)
print(f"MACs {branches.before.macs:,} -> {branches.after.macs:,}")
print(f"parameters {branches.before.params:,} -> {branches.after.params:,}")
print("agree to 1e-5:", torch.allclose(outputs(residual), outputs(shallow), atol=1e-5))

# %%
# NBVAL_CHECK_OUTPUT
for name in ("layer2.1", "layer3.1"):
    other = rl.build_model("resnet20", width=0.25)
    other.get_submodule(f"{name}.bn2").weight.data.zero_()
    one = rl.pruners.SparseSelection("zero", structures="branches").fit(other, data)
    print(f"{name}: {one.before.macs - one.after.macs:,} MACs, "
          f"{one.before.params - one.after.params:,} parameters")

# %% [markdown]
# **What you see.** Removing both leaves the outputs as they were. One by one they save the same MACs: a stage has twice the channels of the one before on maps of half the side, so the product stays the same. The later branch holds more parameters.

# %% [markdown]
# ## 5. The recorded study
#
# VGG-11, scales trained from the start for twenty epochs, six paired seeds. No target is given: what training drove to zero goes. The unpruned network is trained without scales; a second one with them is what is pruned.
#
# **Predict.** Will the seeds agree on the widths? Compare with the picture of network slimming in notebook 05.

# %%
study = "sss-vgg11-digits-zero-classroom"
results = lab.results(study)
rl.figures.layer_widths(lab.evidence("widths", study))

# %% [markdown]
# **What you see.** The seeds agree on the outline and differ by some channels: the layers in the middle keep most of theirs, and the last two layers the smallest shares. The linear layer, which network slimming leaves whole in its recorded study, loses most here. The two methods read different patterns from the same kind of network.

# %% [markdown]
# The paper needs no fine-tuning, because the cut changes nothing. The study trains what is left all the same, from inherited and from new weights, as for the other methods.
#
# **Predict.** Inherited weights that need no repair: will they do better than new ones?

# %%
rl.figures.regimes(results)

# %%
print(results.table().to_string(index=False), end="\n\n")
for verdict in results.verdicts():
    print(verdict, end="\n\n")

# %% [markdown]
# **What you see.** Two comparisons are decided, both by a small margin of evidence: Scratch-B is better than fine-tuning, and Scratch-E is worse than LR rewinding. Fine-tuning is lowest on average and differs most between seeds. So the same inherited weights fall behind new ones or lead them, depending on how both are trained. Scratch-B against LR rewinding is not decided.

# %% [markdown]
# ## 6. What this does not show
#
# - How accurate the network is as pruned, without any further training, after the long training: the study did not record that regime.
# - Whether these scales choose better than a random choice of as many channels. That needs the control.
# - What the published networks gain. The paper removes branches of deep residual networks, which pay off in time as well; a slim VGG-11 has none.
# - That the strength is right. It sets how much goes, and a slightly stronger one can take nearly everything from a network that trains so briefly.

# %% [markdown]
# ## 7. Exercises
#
# The answers use names from the cells above, so run those first. Write in place of the dots, run the cell, then run the check below it.

# %% [markdown]
# **Exercise 1.** *Easy, 5 minutes.* In how many seeds of the recorded study is Scratch-B more accurate than LR rewinding? `results.accuracies(regime)` gives the accuracies by seed; the regimes are called `scratch-b` and `lr-rewind`.

# %% exercise="seeds_above" points=1
### BEGIN SOLUTION
count = (results.accuracies("scratch-b") > results.accuracies("lr-rewind")).sum()
### END SOLUTION

# %% check="seeds_above"
lab.check(checks.seeds_above, count, results)

# %% [markdown] hint="seeds_above"
# Two series with the same seeds as index compare seed by seed, and the sum of truth values is a count.

# %% [markdown]
# **Exercise 2.** *Medium, 10 minutes.* Calculate by hand what it would save to remove a branch of two convolutions from 12 to 12 channels, with 3x3 kernels, on maps of 10 by 10. How many multiply-adds?

# %% exercise="branch_macs" points=1
### BEGIN SOLUTION
macs = 2 * 12 * 12 * 9 * 10 * 10
### END SOLUTION

# %% check="branch_macs"
lab.check(checks.branch_macs, macs, channels=12, side=10)

# %% [markdown] hint="branch_macs"
# One value of one output map costs as many multiply-adds as a filter has weights.

# %% [markdown]
# **Exercise 3.** *Medium, 15 minutes.* A penalty can also act on the *length* of a whole group of weights (the group Lasso), without a scale of its own. Its proximal step keeps the direction of $z$ and takes `amount` off its length, down to zero. Write it for a tensor of one dimension.

# %% exercise="group_soft" points=2
def group_soft(z, amount):
    ### BEGIN SOLUTION
    length = z.norm()
    if length <= amount:
        return torch.zeros_like(z)
    return z * (1 - amount / length)
    ### END SOLUTION

# %% check="group_soft"
lab.check(checks.group_soft, group_soft)

# %% [markdown] hint="group_soft"
# `z.norm()` is the length. Look first whether anything is left of it, which also avoids dividing by zero.

# %% [markdown]
# **Exercise 4.** *Hard, 20 minutes.* Write proximal gradient *without* momentum: from `start`, take `steps` steps, and give the scales at the end. `gradient(scale)` is the gradient of the loss. You may use `soft` from section 1.

# %% exercise="proximal_gradient" points=3
def minimise(gradient, start, lr, strength, steps):
    ### BEGIN SOLUTION
    scale = start
    for _ in range(steps):
        scale = soft(scale - lr * gradient(scale), lr * strength)
    return scale
    ### END SOLUTION

# %% check="proximal_gradient"
lab.check(checks.proximal_gradient, minimise)

# %% [markdown] hint="proximal_gradient"
# It is `proximal` with a momentum of 0: the look-ahead point is the scale itself. What amount does one step take off?

# %% [markdown] more="proximal_gradient"
# Put it to the toy of section 1. Does it swing through zero?
#
# ```python
# for steps in (10, 20, 40, 80):
#     print(steps, minimise(lambda scale: scale - best, torch.ones(5), 0.05, strength, steps))
# ```

# %% [markdown]
# ## Recall
#
# 1. Which two parts of the objective does a proximal step treat apart, and how?
# 2. Why does the sub-gradient step not stop at zero?
# 3. Why does the removal of a structure with a scale of zero leave the outputs as they are?
# 4. What goes with a residual branch, and what stays of its block?
# 5. What sets how much is removed, if no target is given?

# %% [markdown]
# ## References
#
# - Z. Huang, N. Wang. Data-driven sparse structure selection for deep neural networks. ECCV 2018. [doi:10.48550/arXiv.1707.01213](https://doi.org/10.48550/arXiv.1707.01213)
# - Z. Liu, J. Li, Z. Shen, G. Huang, S. Yan, C. Zhang. Learning efficient convolutional networks through network slimming. ICCV 2017. [doi:10.48550/arXiv.1708.06519](https://doi.org/10.48550/arXiv.1708.06519)
# - N. Parikh, S. Boyd. Proximal algorithms. Foundations and Trends in Optimization 1(3), 2014. [doi:10.1561/2400000003](https://doi.org/10.1561/2400000003)
# - Z. Liu, M. Sun, T. Zhou, G. Huang, T. Darrell. Rethinking the value of network pruning. ICLR 2019. [doi:10.48550/arXiv.1810.05270](https://doi.org/10.48550/arXiv.1810.05270)
#
# **Where to go next.** [07 · Soft filter pruning](07_soft_filter_pruning.ipynb) zeroes filters during training too, but lets them come back. [10 · Scratch or fine-tune](10_scratch_or_finetune.ipynb) sets the recorded studies of all methods side by side.
