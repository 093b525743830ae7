# %% [markdown]
# # 10 · Scratch or fine-tune
#
# **Over all pruning methods, does training the pruned architecture from scratch do as well as fine-tuning what it inherited?**

# %% [markdown]
# > **You will be able to** write the two tests behind a verdict, say what pairing by seed buys and when it buys nothing, tell "not significant" from "equivalent", hold many comparisons to one standard, and say on what the paper's claim depends.
# >
# > **You need** [00 · Start here](00_start_here.ipynb) and one of the method notebooks, such as [02 · L1-norm](02_l1_norm.ipynb).
# >
# > **Time** about 50 minutes of reading; the computing takes about 15 seconds at most on two CPU cores.

# %%
import rethinklab as rl
from scipy import stats
from rethinklab.figures.families import method_family, verdict_table
from rethinklab.notebook import start
from rethinklab.notebook.checks import scratch_or_finetune as checks

lab = start(10)

# %% [markdown]
# ## 1. One question, many methods
#
# Each method was studied in the same way: a slim VGG-11 on the digit scenes, six seeds, and four ways to train what is left. Two inherit weights:
#
# - *Fine-tuned*: a quarter of the epochs at the last learning rate, as in 2019.
# - *LR rewinding*: the whole schedule once more (Renda et al., 2020).
#
# Two start from new weights: *Scratch-E*, for as many epochs as the large network had, and *Scratch-B*, for as much computation.
#
# *Random* removes filters by lot: the control for all others. Lottery tickets are not in the list, because their masks are those of weight level, which makes these four networks the same as well. The ticket itself is in [09](09_lottery_ticket.ipynb).

# %%
RECORDED = {
    "L1-norm": "l1-vgg11-digits-half-classroom",
    "Slimming": "slimming-vgg11-digits-half-classroom",
    "Weight level": "weight-level-vgg11-digits-0.8-classroom",
    "ThiNet": "thinet-vgg11-digits-half-classroom",
    "Regression": "regression-vgg11-digits-half-classroom",
    "Soft filter": "soft-filter-vgg11-digits-0.5-classroom",
    "SSS": "sss-vgg11-digits-zero-classroom",
    "Random": "random-vgg11-digits-half-classroom",
}
studies = {title: lab.results(RECORDED[title]) for title in lab.choose(list(RECORDED))}
for title, results in studies.items():
    means = results.summary()["mean"]
    print(f"{title:12}", "  ".join(f"{regime} {mean:.1f}" for regime, mean in means.items()))

# %% [markdown]
# **Predict.** Write two numbers down. For how many of these methods will a test show that Scratch-E is *worse* than fine-tuning? And for how many that it is *as good*?

# %% [markdown]
# ## 2. One study: six differences
#
# A *pair* is two networks of one seed. Their difference is what the claim is about, and a study with six seeds has six of them.

# %%
results = studies["L1-norm"]
differences = results.accuracies("scratch-e") - results.accuracies("finetune")
print(differences.round(2).to_list())
rl.figures.regimes(results)

# %% [markdown]
# **What you see.** The printed differences have both signs: in some seeds Scratch-E ends higher and in others fine-tuning does. Their mean alone may be luck.

# %% [markdown]
# ## 3. Two tests, in full
#
# Is a mean difference larger than luck makes it? Two answers:
#
# - The **sign-flip test** (Fisher, 1935) asks only this of the differences: without an effect each could as well have had the other sign. Of the $2^n$ ways to choose the signs of $n$ pairs, the p-value is the share whose mean is at least as far from zero as the observed one.
# - The **t interval** assumes that differences follow a normal law. It is the mean plus and minus $t \cdot s/\sqrt{n}$, where $s$ is their standard deviation.
#
# **Predict.** In the toy below, five of six differences are above zero. Is that enough for a p below 0.05?

# %%
# NBVAL_CHECK_OUTPUT
def sign_flip(values):
    sums = [0.0]
    for value in values:  # with either sign: the list doubles
        sums = [s + value for s in sums] + [s - value for s in sums]
    observed = abs(sum(values)) - 1e-9
    return sum(abs(s) >= observed for s in sums) / len(sums)


def t_interval(values, alpha=0.05):
    n = len(values)
    mean = sum(values) / n
    sd = (sum((value - mean) ** 2 for value in values) / (n - 1)) ** 0.5
    reach = stats.t.isf(alpha / 2, n - 1) * sd / n**0.5
    return mean - reach, mean + reach


toy = [0.7, 0.3, 1.1, -0.2, 0.6, 0.9]
theirs = rl.compare_paired(toy, [0.0] * 6, margin=0.5)
low, high = t_interval(toy)
print(f"sign-flip p = {sign_flip(toy):.4f}, interval {low:+.3f} to {high:+.3f}")
same = abs(low - theirs.low) + abs(high - theirs.high) < 1e-9
print("the package agrees:", sign_flip(toy) == theirs.p_signflip and same)

# %% [markdown]
# **What you see.** The two do not agree on the toy: the interval leaves out zero, while the sign-flip p is above 0.05. Which of them holds depends on whether the normal law does, and six numbers cannot show that.

# %% [markdown]
# ## 4. What n pairs can show at most
#
# The best case for the sign-flip test is that all differences point one way.
#
# **Predict.** The paper used five seeds. If the better regime wins in all five, what is p?

# %%
# NBVAL_CHECK_OUTPUT
for n in (2, 3, 4, 5, 6, 8, 10):
    print(f"{n:2} pairs, all of one sign: p = {sign_flip([1.0] * n):.4f}")

# %% [markdown]
# **What you see.** Up to five pairs the exact test can never go below 0.05, however large the difference is. Six is the least number that can.

# %% [markdown]
# ## 5. What pairing buys
#
# The variance of a difference of two unrelated numbers is the sum of their variances. If the two of a pair share what makes a seed good or bad, that part cancels and the differences spread *less* than this sum says.
#
# **Predict.** Fine-tuning and LR rewinding start from the same inherited weights. Scratch-E shares with fine-tuning only the order of the images. For which comparison will pairing help?

# %%
def spreads(results, a, b):
    first, second = results.accuracies(a), results.accuracies(b)
    return (first.var() + second.var()) ** 0.5, (first - second).std()


print(f"{'':12} fine-tuned - LR rewinding   Scratch-E - fine-tuned   (unpaired sd, paired sd)")
for title, results in studies.items():
    inherited = spreads(results, "finetune", "lr-rewind")
    new = spreads(results, "scratch-e", "finetune")
    print("{:12} {:.2f}, {:.2f}{:28.2f}, {:.2f}".format(title, *inherited, *new))

# %% [markdown]
# **What you see.** The first two columns: networks that inherit the same weights have differences that spread less than the unpaired sum says, in every row. The last two: for new weights against inherited ones pairing helps in some rows and not in others, because the two share too little. It is no less valid there; it only gains nothing.

# %% [markdown]
# ## 6. "Not significant" is not "equivalent"
#
# A large p means that the data are compatible with no difference. They may be compatible with a large one too.
#
# *Equivalent* is a claim of its own: the difference is smaller than a *margin*. The margin is chosen before the data are seen, as the difference that would not matter; at this scale it is 0.5 points. Two one-sided t tests (TOST; Schuirmann, 1987) must both reject: that the difference is below minus the margin, and that it is above the margin.
#
# **Predict.** For L1-norm the test of Scratch-E against fine-tuning finds no difference. Will TOST find equivalence?

# %%
verdict = studies["L1-norm"].compare("scratch-e", "finetune")
print(verdict)
print(f"p of no difference {verdict.p_t:.2f}, p of equivalence {verdict.p_equivalence:.2f}")

# %%
rl.figures.differences(studies["L1-norm"])

# %% [markdown]
# **What you see.** Neither claim can be made of Scratch-E minus Fine-tuned. Its interval, the first in the picture, holds zero, and it reaches beyond the band on both sides. "No significant difference" would be true of it, and "equal" would not.

# %% [markdown]
# ## 7. How many pairs would be enough?
#
# *Power* is the chance that a study finds what is there. It depends on the difference, on the spread of the differences and on the number of pairs.
#
# **Predict.** With six pairs at the spread of section 6, how large must a difference be for a power of 80 %? Half a point, one, or more?

# %%
sd = verdict.sd
for points in (0.5, 1.0, 2.0, 3.0):
    print(f"a difference of {points} points: {rl.pairs_for(0.8, difference=points, sd=sd)} pairs")
pairs = rl.pairs_for(0.8, difference=0.0, sd=sd, margin=0.5)
print(f"equivalence within 0.5 points, if there is no difference: {pairs} pairs")

# %% [markdown]
# **What you see.** At this spread six pairs have that power only for differences of more than two points. Half a point takes more than ten times as many pairs, and so does equivalence.

# %% [markdown]
# ## 8. Many verdicts are one family
#
# A test at 0.05 errs once in twenty times where there is nothing to find. Who makes many tests will err somewhere.
#
# **Holm's rule** keeps the chance of *any* false claim at 0.05. Sort the p-values of $m$ comparisons. Multiply the smallest by $m$, the next by $m - 1$, and so on; none may fall below the one before it. The comparisons below were declared as one family: both scratch regimes against fine-tuning, in every study.
#
# **Predict.** With sixteen comparisons and no effect at all, how likely is at least one false claim without such a rule?

# %%
# NBVAL_CHECK_OUTPUT
for m in (1, 4, 16):
    print(f"{m:2} independent tests: {1 - 0.95**m:.0%}")

# %% [markdown]
# Holm's rule holds also where comparisons depend on one another.
#
# **Predict.** L1-norm, ThiNet, regression and random filters leave the same widths. What will their Scratch-E accuracies have in common?

# %%
for title, results in studies.items():
    print(f"{title:12}", *(f"{accuracy:6.2f}" for accuracy in results.accuracies("scratch-e")))

# %% [markdown]
# **What you see.** New weights know of a method only the widths that it left. Where the widths and the seed are the same, so are the networks. These rows of the next table are one scratch training compared with several ways to inherit.

# %%
against_finetune = method_family(studies, against="finetune")
verdict_table(against_finetune)

# %%
rl.figures.families(against_finetune)

# %% [markdown]
# **What you see.** Scratch-E lies on both sides of zero. It is shown to be better than fine-tuning for random filters and is not decided anywhere else. Scratch-B lies to the right in every row, and in most of them it is shown to be better. A difference that its own lesson decides among four comparisons, as for weight level, can be undecided among sixteen: that is the price of a larger family. No row shows equivalence, and none shows that new weights are worse.

# %% [markdown]
# ## 9. The same against a better recipe
#
# Fine-tuning of 2019 gives inherited weights a quarter of the epochs at a very small rate. LR rewinding gives them the whole schedule. It is not the cheaper way: the large network and the retraining count together. [13 · Fair budgets](13_fair_budgets.ipynb) looks at what each costs.
#
# **Predict.** Which of the marks in the figure above will move to the left, and will any stay to the right of zero?

# %%
against_rewinding = method_family(studies, against="lr-rewind")
verdict_table(against_rewinding)

# %%
rl.figures.families(against_rewinding)

# %% [markdown]
# **What you see.** Every mark has moved to the left. Scratch-E is now shown to be worse in all rows but one. Scratch-B is not decided in any row: the means are a little below zero, and the intervals reach beyond the band.

# %% [markdown]
# ## 10. Does it matter which filters stay?
#
# One study is the control: random filters. It inherits trained weights too, though nobody chose them. `against` pairs a regime of one study with that of another, seed by seed.
#
# **Predict.** L1-norm against random filters: what is left of the difference after fine-tuning, and what after LR rewinding?

# %%
control = "Random" if "Random" in studies else list(studies)[-1]
for regime in ("finetune", "lr-rewind"):
    print(studies["L1-norm"].against(studies[control], regime), end="\n\n")

# %% [markdown]
# **What you see.** After the short fine-tuning the filters that L1-norm chose are better than random ones. After LR rewinding the two are *equivalent*: the choice no longer shows. Here, for once, the claim of equality has a test behind it, though these two comparisons belong to no declared family.

# %% [markdown]
# ## 11. What the figures say together

# %%
for against, family in {"Fine-tuned": against_finetune, "LR rewinding": against_rewinding}.items():
    comparisons = family.drop_duplicates(["row", "regime"])
    for regime, own in comparisons.groupby("regime", sort=False):
        print(f"{regime} minus {against}:", own["verdict"].value_counts().to_dict())

# %% [markdown]
# - **The paper's claim** is that new weights do as well as inherited ones. Against the fine-tuning of 2019 these studies agree as far as they decide anything: new weights are nowhere shown to be worse, and with equal computation often to be better.
# - **A better recipe** changes it. Against LR rewinding Scratch-E is worse almost throughout. Scratch-B keeps up only in the sense that nothing is shown either way.
# - So the verdict of a pruning study is also one on its retraining. A weak recipe for one side makes the other look good.
# - LR rewinding has a large network *and* a whole schedule behind it. Whether the weights or all that training make its lead, these figures cannot tell.

# %% [markdown]
# ## 12. What this does not show
#
# - Rows are not independent (section 8), so rows that agree are fewer confirmations than they seem.
# - One slim network, one data set of small images, twenty epochs. The published study trained large networks for 160.
# - Equal epochs need not be equal cost. LR rewinding always rests on a trained large network, besides a whole schedule of its own. Scratch-E does only where pruning found the architecture, as in slimming, SSS and weight level.
# - Methods are not ranked here. They differ in what is left, and the comparisons are within each method.
# - A verdict of *not decided* says nothing about the size of the difference; its interval does.

# %% [markdown]
# ## Recall
#
# 1. Why can five pairs never reach p < 0.05 in the exact sign-flip test?
# 2. What must the two networks of a pair share for pairing to help?
# 3. What does a large p say, and what does it not say?
# 4. Which two hypotheses does TOST reject, and when is the margin chosen?
# 5. What does Holm's rule do to the smallest p of sixteen?
# 6. Which part of the paper's conclusion depends on how the inherited weights are retrained?

# %% [markdown]
# ## Exercises
#
# The answers use names from the cells above, so run those first. Write in place of the dots, run the cell, then run the check below it.

# %% [markdown]
# **Exercise 1.** *Easy, 5 minutes.* In the family against fine-tuning, how many comparisons would the t test call a difference at 0.05 if each stood alone, and how many with Holm's rule? Give both, in this order. The frame `against_finetune` has the columns `p_t` and `p_t_holm`, and one row for each seed.

# %% exercise="count_claims" points=1
### BEGIN SOLUTION
rows = against_finetune.drop_duplicates(["row", "regime"])
claims = ((rows["p_t"] < 0.05).sum(), (rows["p_t_holm"] < 0.05).sum())
### END SOLUTION

# %% check="count_claims"
lab.check(checks.count_claims, claims, against_finetune)

# %% [markdown] hint="count_claims"
# The values of a comparison are repeated in the rows of its seeds. `drop_duplicates(["row", "regime"])` keeps one.

# %% [markdown]
# **Exercise 2.** *Easy, 10 minutes.* A family has 16 comparisons. How many pairs must each have at least so that the exact sign-flip test *can* reach an adjusted p of 0.05 for the clearest of them?

# %% exercise="pairs_for_family" points=1
### BEGIN SOLUTION
least = next(n for n in range(1, 100) if 16 * 2 ** (1 - n) <= 0.05)
### END SOLUTION

# %% check="pairs_for_family"
lab.check(checks.pairs_for_family, least, 16)

# %% [markdown] hint="pairs_for_family"
# Section 4 prints the smallest p of one comparison: two of $2^n$. Holm multiplies the smallest p of the family by 16.

# %% [markdown]
# **Exercise 3.** *Medium, 10 minutes.* Write a function that says what pairing gains: the standard deviation that a difference of `a` and `b` would have if they were not related, over that of the differences. Both are pandas series.

# %% exercise="pairing_gain" points=2
def gain(a, b):
    ### BEGIN SOLUTION
    return (a.var() + b.var()) ** 0.5 / (a - b).std()
    ### END SOLUTION

# %% check="pairing_gain"
lab.check(checks.pairing_gain, gain)

# %% [markdown] hint="pairing_gain"
# Variances of unrelated numbers add, standard deviations do not. `series.var()` and `series.std()` divide by $n - 1$.

# %% [markdown] more="pairing_gain"
# Then try it on other pairs:
#
# ```python
# for title, results in studies.items():
#     print(title, gain(results.accuracies("finetune"), results.accuracies("unpruned")))
# ```

# %% [markdown]
# **Exercise 4.** *Medium, 15 minutes.* Write TOST. The function takes a list of differences and a margin, and gives one p-value: that of equivalence. `stats.t.sf(t, df)` is the share of the t law above `t`, `stats.t.cdf(t, df)` that below.

# %% exercise="equivalence_p" points=2
def equivalence_p(differences, margin):
    ### BEGIN SOLUTION
    n = len(differences)
    mean = sum(differences) / n
    error = (sum((d - mean) ** 2 for d in differences) / (n - 1) / n) ** 0.5
    above_lower = stats.t.sf((mean + margin) / error, n - 1)
    below_upper = stats.t.cdf((mean - margin) / error, n - 1)
    return max(above_lower, below_upper)
    ### END SOLUTION

# %% check="equivalence_p"
lab.check(checks.equivalence_p, equivalence_p)

# %% [markdown] hint="equivalence_p"
# Two t values: how many standard errors the mean lies above minus the margin, and how many below the margin. Both tests have to reject, so the weaker one decides.

# %% [markdown]
# **Exercise 5.** *Hard, 20 minutes.* Write Holm's rule: a function from a list of p-values to the adjusted ones, in the same order, none above 1.

# %% exercise="holm_rule" points=2
def holm(p_values):
    ### BEGIN SOLUTION
    n, largest = len(p_values), 0.0
    adjusted = [0.0] * n
    for rank, place in enumerate(sorted(range(n), key=lambda i: p_values[i])):
        largest = max(largest, (n - rank) * p_values[place])
        adjusted[place] = min(1.0, largest)
    return adjusted
    ### END SOLUTION

# %% check="holm_rule"
lab.check(checks.holm_rule, holm)

# %% [markdown] hint="holm_rule"
# `sorted(range(n), key=lambda i: p_values[i])` gives the places from the smallest p to the largest. Keep the largest product so far.

# %% [markdown]
# **Where to go next.** [13 · Fair budgets](13_fair_budgets.ipynb) takes one plan and changes recipe, budget and margin. [11 · Weight distributions](11_weight_distributions.ipynb) and [12 · Architecture patterns](12_architecture_patterns.ipynb) look into the networks behind these numbers.

# %% [markdown]
# ## References
#
# - Z. Liu, M. Sun, T. Zhou, G. Huang, T. Darrell. Rethinking the value of network pruning. ICLR 2019. [doi:10.48550/arXiv.1810.05270](https://doi.org/10.48550/arXiv.1810.05270)
# - A. Renda, J. Frankle, M. Carbin. Comparing rewinding and fine-tuning in neural network pruning. ICLR 2020. [doi:10.48550/arXiv.2003.02389](https://doi.org/10.48550/arXiv.2003.02389)
# - R. A. Fisher. The design of experiments. Oliver and Boyd, 1935, section 21.
# - S. Holm. A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics 6, 1979.
# - D. J. Schuirmann. A comparison of the two one-sided tests procedure and the power approach for assessing the equivalence of average bioavailability. Journal of Pharmacokinetics and Biopharmaceutics 15, 1987. [doi:10.1007/BF01068419](https://doi.org/10.1007/BF01068419)
