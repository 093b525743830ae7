# %% [markdown]
# # 13 · Fair budgets
#
# **Can a change of the retraining recipe, the budget or the margin turn the conclusion of a pruning study round?**

# %% [markdown]
# > **You will be able to** read a learning-rate schedule, compute every budget rule by hand, say what a comparison counts and what it leaves out, and overturn and restore a published conclusion with one set of networks.
# >
# > **You need** [10 · Scratch or fine-tune](10_scratch_or_finetune.ipynb).
# >
# > **Time** about 40 minutes of reading; the computing takes about 15 seconds at most on two CPU cores.

# %%
import rethinklab as rl
from rethinklab.figures.families import recipe_family, verdict_table
from rethinklab.figures.schedules import schedule_table
from rethinklab.notebook import start, widgets
from rethinklab.notebook.checks import fair_budgets as checks

lab = start(13)

# %% [markdown]
# ## 1. One plan, many ways to train it
#
# Everything below is about *one* plan for each seed: VGG-11 with half of its multiply-adds left by L1-norm. Large network, plan, images and seeds stay the same. What changes is how the small network is trained:
#
# - its **weights**: inherited, or new;
# - its **recipe**: how the learning rate moves;
# - its **budget**: how many epochs.
#
# These are the names for all the ways.

# %%
# NBVAL_CHECK_OUTPUT
for name, regime in rl.REGIMES.items():
    print(f"{name:17}{regime.start:10}{regime.meaning}")

# %% [markdown]
# ## 2. Recipes: how the learning rate moves
#
# A high rate lets a network move far from where it starts, and the low rates at the end let it settle. Fine-tuning of 2019 only settles: it stays at the last, lowest rate (*Fine-tuned (1)*, `finetune:1`, for as many epochs as the large network had). Later recipes give the inherited weights large steps once more: LR rewinding repeats the whole schedule; LR restart, one-cycle and linear squeeze theirs into the epochs of fine-tuning.
#
# **Predict.** Sketch the rate against the epoch for fine-tuning, LR restart and Scratch-B, where the large network is trained for 20 epochs and an epoch of the small one costs half.

# %%
recipe = rl.Recipe(epochs=20, lr=0.05)
ways = ["finetune", "finetune:1", "restart", "one-cycle", "linear", "weight-rewind", "lr-rewind",
        "scratch-e", "sx-a", "scratch-b", "scratch-b-full"]
rl.figures.schedules(schedule_table(recipe, ratio=2.0, regimes=ways))

# %% [markdown]
# **What you see.** Both fine-tunings stay at a hundredth of the rate that all others reach. The scratch regimes differ in length only: the steps of the schedule stretch with it.

# %% [markdown]
# ## 3. Budget rules, in full
#
# Let the large network take $K$ epochs and the retraining $k$, and let an epoch of the large network cost $r$ times one of the small. What is a fair number of epochs for new weights? Each rule makes something equal:
#
# | rule | makes equal |
# |---|---|
# | Scratch-E | epochs, with the large network |
# | Scratch-B | computation, with the large network |
# | capped | the same, but at most twice the epochs |
# | SX-A | epochs, with large network and fine-tuning |
# | full (SX-B) | computation, with large network and fine-tuning |
#
# **Predict.** With $K = 160$, $k = 40$ and $r = 3$, order the five.

# %%
# NBVAL_CHECK_OUTPUT
RULES = {
    "scratch-e": lambda K, k, r: K,
    "scratch-b": lambda K, k, r: K * r,
    "scratch-b-capped": lambda K, k, r: K * min(r, 2),
    "sx-a": lambda K, k, r: K + k,
    "scratch-b-full": lambda K, k, r: K * r + k,
}
large = rl.Recipe(epochs=160, finetune_epochs=40)
agree = True
for name, rule in RULES.items():
    own = [int(rule(160, 40, ratio)) for ratio in (1.5, 2.0, 3.0, 10.0)]
    theirs = [rl.REGIMES[name].budget(large, ratio).epochs for ratio in (1.5, 2.0, 3.0, 10.0)]
    agree &= own == theirs
    print(f"{name:17}", *(f"{epochs:6}" for epochs in own))
print("the package agrees:", agree)

# %% [markdown]
# **What you see.** Each column is a ratio: 1.5, 2, 3 and 10. At a mild cut SX-A and Scratch-B are close. At a deep one the rules are far apart, and the choice of a rule is most of the answer.

# %% [markdown]
# ## 4. The recorded study
#
# Six seeds, one plan for each, and every way of section 2.
#
# **Predict.** Which will win: the best of the inherited, or the longest of the scratch trainings?

# %%
results = lab.results("budgets-vgg11-digits-half-classroom")
print(results.label)
results.table().set_index("regime")

# %% [markdown]
# The network right after the cut, *Pruned*, would stretch the axis of a picture, so the pictures leave it out.

# %%
rows = results.frame[results.frame["regime"] != "pruned"].astype({"regime": str})
trained = rl.Results(rows, results.margin, results.label, results.name)
rl.figures.regimes(trained)

# %% [markdown]
# **What you see.** LR rewinding ends highest on average, followed by the two longest trainings from scratch. The fine-tuning of 2019 ends lowest. Giving it four times the epochs at the same low rate helps less than a large rate in a quarter of the time: LR restart, one-cycle and linear end higher on average.

# %% [markdown]
# ## 5. What each one cost in all
#
# The number of epochs of the last training hides most of the bill. Whoever retrains inherited weights has trained the large network first. The *ledger* counts everything that a trial rests on: a backward pass counts as two forward ones.
#
# For new weights there are two answers. If pruning *found* the architecture, its price includes the large network. If the architecture was known beforehand, as with one share for all layers, the training from scratch is all there is.
#
# **Predict.** Fine-tuning has a quarter of the epochs of Scratch-E. Is it the cheaper of the two?

# %%
ledger = results.ledger()
ledger["macs"] = ledger["forward_macs"] + ledger["backward_macs"]
ledger["share"] = ledger["macs"] / ledger.loc["unpruned", "macs"]
ledger[["epochs", "train_images", "macs", "share"]].round(2)

# %%
named = ["unpruned", "finetune", "lr-rewind", "scratch-e", "scratch-b", "scratch-b-full"]
few = rows[rows["regime"].isin(named)]
rl.figures.accuracy_budget(rl.Results(few, results.margin, results.label, results.name))

# %% [markdown]
# **What you see.** The figure leaves out some of the ways, whose marks would lie on each other. With the large network counted for both, fine-tuning is cheaper than Scratch-E. Where the architecture was known beforehand, the pale mark, Scratch-E is the cheaper one by far. Counted in all, LR rewinding and Scratch-E cost the same and do not end alike.

# %% [markdown]
# ## 6. Learning curves
#
# **Predict.** What happens to the accuracy of inherited weights in the first epoch of LR rewinding, at a rate a hundred times that of fine-tuning?

# %%
curves = lab.evidence("histories", "budgets-vgg11-digits-half-classroom")
shown = ["finetune", "finetune:1", "lr-rewind", "scratch-e", "scratch-b"]
rl.figures.learning_curves(curves[curves["regime"].isin(shown)])

# %% [markdown]
# **What you see.** The large rate first costs accuracy: LR rewinding begins below fine-tuning, and passes it when the rate falls. New weights begin near chance and make up most of the way within ten epochs. Their curves overlap until the shorter schedule lowers its rate.

# %% [markdown]
# ## 7. Overturn it
#
# The paper of 2019 compared Scratch-E and Scratch-B with fine-tuning at the last rate. The family declared here is larger: every budget for new weights against every recipe for inherited ones. First its rows with the paper's two budgets.
#
# **Predict.** Against which recipes will Scratch-E still be as good?

# %%
budgets = ("scratch-e", "sx-a", "scratch-b", "scratch-b-full")
family = recipe_family(results, new=budgets)
of_2019 = family[family["regime"].isin(["scratch-e", "scratch-b"])]
verdict_table(of_2019)

# %%
rl.figures.families(of_2019)

# %% [markdown]
# **What you see.** Against both fine-tunings Scratch-B is shown to be better and Scratch-E is not decided, which is the paper's picture. Against LR rewinding Scratch-E is shown to be worse. For the other recipes nothing is decided: Scratch-E lies below each of them on average, and Scratch-B above.

# %% [markdown]
# ## 8. Restore it
#
# Is that a fair fight? LR rewinding spends a large network and a whole schedule of its own. Scratch-E, if the architecture was known beforehand, spends one schedule. Now the budget of the new weights grows instead: SX-A, Scratch-B and Scratch-B full.
#
# **Predict.** Which budget is the first at which LR rewinding is no longer shown to be better?

# %%
rl.figures.families(family[family["against"].isin(["finetune", "linear", "lr-rewind"])])

# %% [markdown]
# **What you see.** With each larger budget the marks move to the right. Against LR rewinding only Scratch-E is shown to be worse; from SX-A on nothing is shown, and with the largest budget little of the mean difference is left. That restores *not worse as far as six pairs can tell*. It does not show *as good*: no row is equivalent.

# %% [markdown]
# ## 9. The margin
#
# "As good as" needs a margin. It is set before the data are seen, by what difference would not matter: 0.3 points at the scale of the paper, 0.5 here. Look at what happens when it moves.
#
# **Predict.** Scratch-B against LR rewinding: from which margin on will the verdict be *equivalent*?

# %%
for margin in (0.3, 0.5, 1.0, 1.5, 2.0):
    found = results.compare("scratch-b", "lr-rewind", margin=margin)
    print(f"margin {margin:.1f}: {found.verdict:12} p of equivalence {found.p_equivalence:.3f}")

# %% [markdown]
# **What you see.** The same six differences are *not decided* at the strict margins and *equivalent* at the wide ones. Who looks first and chooses the margin afterwards can have either answer.

# %% [markdown]
# ## 10. Explore
#
# Choose a recipe, a budget and a margin, and read the verdict. Whoever tries all and reports one has made a family of comparisons and kept quiet about it.

# %%
widgets.budget_explorer(results)

# %% [markdown]
# ## 11. What a fair comparison states
#
# 1. What the inherited weights were retrained with, and that it was tuned as much as the recipe of the scratch training.
# 2. What the budget makes equal, and whether the large network is counted.
# 3. The margin, the seeds and the comparisons, before the results.
# 4. For what purpose: one network to be deployed, with a large one at hand, is another question than an architecture to be trained many times.

# %% [markdown]
# ## 12. What this does not show
#
# - One method and one ratio. With half of the multiply-adds left, the budgets differ by little; at deep cuts they differ by far.
# - Twenty epochs on small images. Longer training may close gaps, or open them.
# - Multiply-adds are not seconds: a small network on a large device is not faster in proportion.
# - Rates were not tuned for each arm. `rethinklab run --tune` gives every arm as many trials on held-out training images.

# %% [markdown]
# ## Recall
#
# 1. At which rate did the study of 2019 fine-tune, and for how long?
# 2. What do Scratch-E and Scratch-B each make equal?
# 3. Which costs does SX-B count that Scratch-B leaves out?
# 4. When is the large network part of the price of training from scratch?
# 5. Why must the margin be set before the results are seen?

# %% [markdown]
# ## Exercises
#
# The answers use names from the cells above, so run those first. Write in place of the dots, run the cell, then run the check below it.

# %% [markdown]
# **Exercise 1.** *Easy, 5 minutes.* None of the rules above pays for LR rewinding, which retrains for as many epochs as the large network had. With 160 epochs and a ratio of 2.5, how many epochs of new weights cost what the large network and its LR rewinding cost together?

# %% exercise="rewinding_budget" points=1
### BEGIN SOLUTION
epochs = int(160 * 2.5 + 160)
### END SOLUTION

# %% check="rewinding_budget"
lab.check(checks.rewinding_budget, epochs, 160, 2.5)

# %% [markdown] hint="rewinding_budget"
# Count in epochs of the small network. One of the large network's is worth 2.5 of them.

# %% [markdown]
# **Exercise 2.** *Easy, 10 minutes.* A regime is good enough if its mean accuracy is at most the study's margin (`results.margin`) below the best mean of all pruned networks. Which of those that are good enough costs the fewest multiply-adds, with the large network counted for all, as in `ledger`? Give its name, as in `results.regimes`.

# %% exercise="cheapest" points=1
### BEGIN SOLUTION
means = results.summary()["mean"].drop("unpruned")
good = means[means >= means.max() - results.margin].index
regime_name = ledger.loc[good, "macs"].idxmin()
### END SOLUTION

# %% check="cheapest"
lab.check(checks.cheapest, regime_name, results)

# %% [markdown] hint="cheapest"
# `results.summary()["mean"]` has the means, and `ledger["macs"]` from section 5 the costs, both by name.

# %% [markdown]
# **Exercise 3.** *Medium, 15 minutes.* Section 9 tried five margins. What is the *smallest* at which two one-sided tests at 0.05 call Scratch-B and LR rewinding equivalent? `compare` gives `n`, `mean` and `sd` of the differences, and `low` and `high` of the 95 % interval. The quantile for six pairs at one-sided 0.05 is 2.015; `rl.analysis.paired_tests.t_tests(differences, margin)` gives a p-value for any number of pairs.

# %% exercise="smallest_margin" points=2
### BEGIN SOLUTION
gaps = results.accuracies("scratch-b") - results.accuracies("lr-rewind")
low, high = 0.0, 100.0
for _ in range(60):  # halve until the p of equivalence is 0.05
    margin = (low + high) / 2
    p = rl.analysis.paired_tests.t_tests(gaps, margin).p_equivalence
    low, high = (low, margin) if p < 0.05 else (margin, high)
smallest = high
### END SOLUTION

# %% check="smallest_margin"
lab.check(checks.smallest_margin, smallest, results, "scratch-b", "lr-rewind")

# %% [markdown] hint="smallest_margin"
# Equivalence is claimed where the 90 % interval lies within the margin: its far end, $|mean| + t \cdot sd / \sqrt{n}$, is the answer.

# %% [markdown]
# **Exercise 4.** *Medium, 15 minutes.* Write a schedule that recovers gently: over the first tenth of the epochs (rounded, at least one) the rate rises in a line from a tenth of the peak and would reach the peak at the first epoch after them. From that epoch, which has the peak, it falls in a line towards zero, which it would reach after the last epoch. Epochs count from 0.

# %% exercise="warm_linear" points=2
def warm_linear(epoch, epochs, peak):
    ### BEGIN SOLUTION
    warm = max(1, round(epochs / 10))
    if epoch < warm:
        return peak * (0.1 + 0.9 * epoch / warm)
    return peak * (1 - (epoch - warm) / (epochs - warm))
    ### END SOLUTION

# %% check="warm_linear"
lab.check(checks.warm_linear, warm_linear)

# %% [markdown] hint="warm_linear"
# Two cases: before the rise ends and after. In the first, epoch 0 has a tenth of the peak. The peak itself is the first epoch of the second case.

# %% [markdown] more="warm_linear"
# The package's form is a recipe: `rl.Recipe(epochs=40, lr=0.1, milestones=(), shape="linear", warmup=0.1).lr_at(epoch)`. With `shape="cosine"` it is one-cycle.

# %% [markdown]
# **Where to go next.** [14 · Paper figures](14_paper_figures.ipynb) makes the figures of a paper from recorded studies. [15 · Your own model and data](15_your_own_model_and_data.ipynb) asks the question for a network of yours.

# %% [markdown]
# ## References
#
# - Z. Liu, M. Sun, T. Zhou, G. Huang, T. Darrell. Rethinking the value of network pruning. ICLR 2019. [doi:10.48550/arXiv.1810.05270](https://doi.org/10.48550/arXiv.1810.05270)
# - A. Renda, J. Frankle, M. Carbin. Comparing rewinding and fine-tuning in neural network pruning. ICLR 2020. [doi:10.48550/arXiv.2003.02389](https://doi.org/10.48550/arXiv.2003.02389)
# - D. H. Le, B.-S. Hua. Network pruning that matters: a case study on retraining variants. ICLR 2021. [doi:10.48550/arXiv.2105.03193](https://doi.org/10.48550/arXiv.2105.03193)
# - M. Zimmer, C. Spiegel, S. Pokutta. How I learned to stop worrying and love retraining. 2021. [doi:10.48550/arXiv.2111.00843](https://doi.org/10.48550/arXiv.2111.00843)
# - H. Wang, C. Qin, Y. Bai, Y. Fu. Why is the state of neural network pruning so confusing? On the fairness, comparison setup, and trainability in network pruning. 2023. [doi:10.48550/arXiv.2301.05219](https://doi.org/10.48550/arXiv.2301.05219)
