# %% [markdown]
# # 14 · Figures for a paper
#
# **What must a figure have before it may stand in a paper, and can its error bars be believed?**

# %% [markdown]
# > **You will be able to** draw a figure at the size of a venue, check its PDF for size and fonts, choose error bars whose coverage you have measured, and export figures and tables with their numbers and origin.
# >
# > **You need** [00 · Start here](00_start_here.ipynb) and the idea of a confidence interval.
# >
# > **Time** about 35 minutes of reading; the computing takes about 15 seconds at most on two CPU cores.

# %%
import tempfile, numpy as np, scipy.stats as stats
import rethinklab as rl
from rethinklab.figures import VENUES, export, gallery, style
from rethinklab.notebook import start
from rethinklab.notebook.checks import paper_figures as checks
lab = start(14)

# %% [markdown]
# ## 1. Results first
#
# Every figure of the kit is a function from a table of numbers to a picture. It trains nothing and reads no files, so the picture can be made again whenever the numbers are kept.
#
# The study used here is VGG-11, L1-norm pruning to half of the multiply-adds, with several paired seeds: each seed has one large network, which all regimes share.
#
# **Predict.** A reader sees the figure below and nothing else of your paper. Which three facts must stand in or under it?

# %%
results = lab.results("l1-vgg11-digits-half-classroom")
figure = rl.figures.regimes(results)
print(figure.note)
figure

# %% [markdown]
# **What you see.** Under the axes stand the scale, the method and target, the network, the data, the device and the number of seeds. Every seed is a dot, seeds are joined where they are paired, and the open mark beside them is the mean with its standard deviation.

# %% [markdown]
# A figure carries its numbers and a caption that is made from them. The caption is also the alternative text, for readers who cannot see the picture.

# %%
print(figure.caption)
figure.numbers.head(3)

# %% [markdown]
# ## 2. The size is decided first
#
# A venue's text block has a fixed width. A figure of another width is scaled by LaTeX, and its text with it.
#
# **Predict.** The figure above is 5.5 inches wide and its axis labels have 9 points. Someone puts it into a column of 3.25 inches. How large is its text then? Is that at least 7 points, the least that reads well?

# %%
# NBVAL_CHECK_OUTPUT
for venue, inches in VENUES.items():
    print(f"{venue:12} {inches:5.3f} in; text of 9 points from a figure of 5.5 in: "
          f"{9 * inches / 5.5:.1f} points")

# %% [markdown]
# So the figure is drawn again at the width that it will have. Nothing is scaled afterwards; where names do not fit, they turn.

# %%
narrow = rl.figures.regimes(results, width=VENUES["icml-column"])
print("inches:", *narrow.get_size_inches().round(2))
narrow

# %% [markdown]
# **What you see.** The letters are as large as before and the picture is narrower. A figure scaled down from 5.5 inches would fit too, with text too small to read.

# %% [markdown]
# ## 3. What the file holds
#
# A PDF says its size in a `MediaBox`, in points of 1/72 inch. It also embeds its fonts. Type 3 fonts are drawings of letters, which some publishers refuse; *Type 42* fonts are TrueType, and the text can be searched and edited.
#
# Many scripts save with `bbox_inches="tight"`, which cuts the page to its content and adds a border.
#
# **Predict.** Saved as it is, the page is 5.5 inches wide. Is it wider or narrower when saved "tight"?

# %%
def page(content):
    """Width and height of a PDF's page in inches."""
    box = content.split(b"/MediaBox [", 1)[1].split(b"]", 1)[0]
    left, bottom, right, top = (float(number) / 72 for number in box.split())
    return right - left, top - bottom


def saved(figure, **options):
    with tempfile.TemporaryFile() as file:
        figure.savefig(file, format="pdf", **options)
        file.seek(0)
        return file.read()


with style.paper_style():
    styled = {"as it is": saved(figure), "tight": saved(figure, bbox_inches="tight")}
files = {"matplotlib's defaults": saved(figure), **styled}
for name, content in files.items():
    fonts = "Type 3" if b"/Type3" in content else "Type 42"
    print(f"{name:22} {page(content)[0]:.2f} in wide, fonts: {fonts}")

# %% [markdown]
# **What you see.** "Tight" gives a page of another width than was asked, and LaTeX will scale it back, text included. Two figures saved so differ in the size of their letters. matplotlib's defaults embed Type 3 fonts; the kit's style sheet embeds Type 42.

# %% [markdown]
# ## 4. Looks that everyone can tell apart
#
# Many readers see some colours alike, and some print in grey. So each regime has a colour of a colour-blind-safe palette *and* a marker, and has both in every figure.
#
# **Predict.** Printed in grey, which two regimes will be hardest to tell apart by colour alone?

# %%
# NBVAL_CHECK_OUTPUT
for regime in results.regimes:
    look = style.regime_look(regime)
    grey = np.dot((0.299, 0.587, 0.114), look["color"])  # how bright an eye finds a colour
    print(f"{regime:10}  marker {look['marker']}  brightness {grey:.2f}")

# %% [markdown]
# **What you see.** Some brightnesses lie so close that on paper the greys are the same. The markers all differ. Colour helps those who see it; the marker carries the information.

# %% [markdown]
# ## 5. What an error bar may say
#
# The same few numbers give bars of very different length. The *standard deviation* (sd) says how far apart seeds lie. The *standard error* is the sd divided by $\sqrt{n}$. A *95 % interval* is made to hold the true mean in 95 of 100 repetitions of the study.
#
# **Predict.** Order the three by length, for a handful of seeds.

# %%
values = results.accuracies("finetune").to_numpy()
n, sd = len(values), values.std(ddof=1)
error = sd / np.sqrt(n)
print(f"n = {n}: mean {values.mean():.2f}")
print(f"sd {sd:.2f}, standard error {error:.2f}, "
      f"t interval ±{stats.t.ppf(0.975, n - 1) * error:.2f}")

# %% [markdown]
# **What you see.** The standard error is the shortest by far and looks best, which is why a caption must say which bar is drawn. Two papers that write "±" may mean different things.

# %% [markdown]
# ## 6. Measure the coverage, in full
#
# Some plotting libraries draw by default a *percentile bootstrap*: draw $n$ values from the $n$ seeds with replacement, take their mean, repeat, and let the interval run from the 2.5th to the 97.5th percentile of these means. Nothing in it knows how small $n$ is.
#
# Whether an interval is honest can be measured. Invent a truth, here 0, simulate many studies of $n$ seeds, and count how often the interval holds it.
#
# **Predict.** Out of 100 studies with 3 seeds, how many bootstrap intervals hold the truth?

# %%
def bootstrap_interval(studies, random, resamples=1000):
    n = studies.shape[1]
    drawn = random.multinomial(n, [1 / n] * n, resamples) / n  # share of each seed in a resample
    return np.percentile(studies @ drawn.T, [2.5, 97.5], axis=1)


def t_interval(studies):
    n = studies.shape[1]
    reach = stats.t.ppf(0.975, n - 1) * studies.std(axis=1, ddof=1) / np.sqrt(n)
    return studies.mean(axis=1) - reach, studies.mean(axis=1) + reach


def coverage(interval, truth=0.0):
    low, high = interval
    return np.mean((low <= truth) & (truth <= high))


random, simulated = np.random.default_rng(0), []
for seeds in (3, 5, 10, 30):
    studies = random.normal(0.0, 1.0, (2000, seeds))
    simulated.append((seeds, coverage(bootstrap_interval(studies, random)),
                      coverage(t_interval(studies))))
    print("{:2} seeds: bootstrap {:.1%}, t interval {:.1%}".format(*simulated[-1]))

# %% [markdown]
# **What you see.** The t interval holds the truth about as often as it promises, at any number of seeds. The percentile bootstrap falls far short with 3 seeds, still short with 5 and 10, and comes close with 30. The simulated seeds follow a normal law, for which the t interval is made.

# %% [markdown]
# With 3 seeds the shortfall can be worked out. One resample in 27 draws the smallest seed three times, which is more than 2.5 %, so the interval runs from the smallest seed to the largest. In a quarter of all studies the three lie on one side of the truth.
#
# The package's paired comparison uses the t interval. It should agree with the function above on the differences of the study.

# %%
difference = results.accuracies("scratch-e") - results.accuracies("finetune")
low, high = t_interval(difference.to_numpy()[None])
theirs = results.compare("scratch-e", "finetune")
print("same interval:", np.allclose([low[0], high[0]], [theirs.low, theirs.high]))
print(f"{low[0]:+.2f} to {high[0]:+.2f} points")

# %% [markdown]
# ## 7. The recorded study
#
# Bars at two regimes do not say whether the regimes differ, because seeds are paired and the pairs matter. The figure for a claim shows the differences, their interval, and the band within which a difference counts as none.
#
# **Predict.** Look at the first figure again. For which of the four comparisons will the interval leave out zero?

# %%
rl.figures.differences(results)

# %%
print(results.table().to_string(index=False), end="\n\n")
for verdict in results.verdicts():
    print(verdict, end="\n\n")

# %% [markdown]
# **What you see.** Scratch-B is better than fine-tuning and Scratch-E is worse than LR rewinding; the other two comparisons are not decided. So the answer depends on which fine-tuning the scratch run is held against: LR rewinding also starts from inherited weights, but trains for as long as the large network.

# %% [markdown]
# ## 8. Export: picture, numbers, origin
#
# `rl.figures.export` writes a figure as PDF and PNG, what it shows as CSV, and where that is from as JSON. Dates are left out of the files, so that the same numbers give the same bytes and version control shows a change only where there is one.
#
# **Predict.** Which of the four files is the largest?

# %%
chosen = rl.figures.differences(results, width=VENUES["icml-column"])
with tempfile.TemporaryDirectory() as folder:  # removed at the end of this block
    paths = export(chosen, "differences", folder, origin={"study": results.name})
    files = {path.name: path.read_bytes() for path in paths}
    again = export(chosen, "differences", folder, origin={"study": results.name})
    print("the same bytes twice:", all(files[p.name] == p.read_bytes() for p in again))
print(*(f"{name:16} {len(content) / 1000:6.1f} kB" for name, content in files.items()), sep="\n")
chosen

# %% [markdown]
# The export is checked by what it wrote, not by what was asked. The JSON names the figure's source and the versions that drew it.

# %%
# NBVAL_CHECK_OUTPUT
pdf, origin = files["differences.pdf"], files["differences.json"].decode()
print(f"page {page(pdf)[0]:.2f} in wide, Type 3 fonts: {b'/Type3' in pdf}")
print("recorded:", *(line.split('"')[1] for line in origin.splitlines() if '":' in line))

# %% [markdown]
# ## 9. A table in the paper's layout
#
# A table of the published study holds its rows as printed, and own studies of the same row beneath. A trailing "?" marks published numbers that were not checked against the paper's text.
#
# **Predict.** Own rows are from slimmer networks or other copies of the data. What must the table say so that nobody reads them as the same experiment?

# %%
recorded = rl.load_studies(lab.root / "data" / "results")
table = rl.results.paper_tables.paper_table("table1", recorded.values())
columns = ["Model", "Target", "From", "Unpruned", "Fine-tuned", "Scratch-E", "Scratch-B"]
table.frame[columns].head(4)

# %%
print(*table.sources, sep="\n")
print(*table.latex.splitlines()[2:9], sep="\n")

# %% [markdown]
# **What you see.** Own rows have a mark, and the sources below say the scale, the width, the data and the seeds of each. Where a study is not finished, its cells rest on fewer seeds than the source names; (n) counts them. In own rows the column Target holds the epochs. `table.latex` holds the same, with the sources as the caption, for the package booktabs.

# %% [markdown]
# ## 10. All at once, from the command line
#
# ```bash
# rethinklab figures --list --from data/results          # what can be drawn, what is missing
# rethinklab figures differences --from data/results --width icml-column --format pdf
# rethinklab figures table1 --out pictures               # .txt, .csv and .tex, from the store
# rethinklab results l1-vgg16 --format latex             # one table, a row a study
# ```
#
# Behind the command is one function, which says what it wrote and what it could not draw.

# %%
with tempfile.TemporaryDirectory() as folder:
    one = rl.load_studies(lab.root / "data/results/l1-vgg11-digits-half-classroom")
    for drawn in gallery.make(one, ["regimes", "movement", "table1"], folder, ("pdf",), 3.25):
        print(drawn.kind, "->", *(path.name for path in drawn.paths))
print("left behind:", len(list(lab.root.glob("*.pdf"))), "files")

# %% [markdown]
# ## 11. What this does not show
#
# - That the t interval suits every study. The simulation drew normal values; accuracies near 100 % are skewed, and a seed that fails to train is an outlier that no interval of this kind expects.
# - That a figure with honest bars supports a claim. Seeds tell how the result varies with chance, not with other data, networks or recipes.
# - What your venue asks. The widths here are recalled from style files and were not checked against this year's; read the instructions.

# %% [markdown]
# ## 12. Exercises
#
# The answers use names from the cells above, so run those first. Write in place of the dots, run the cell, then run the check below it.

# %% [markdown]
# **Exercise 1.** *Easy, 5 minutes.* The first figure shows standard deviations over seeds. How long, in percentage points, would the bar of Scratch-B reach to each side if it showed the *standard error* of the mean? Take the accuracies from `figure.numbers`, the table that goes into the CSV.

# %% exercise="standard_error" points=1
### BEGIN SOLUTION
rows = figure.numbers[figure.numbers["regime"] == "scratch-b"]
error = rows["accuracy"].std() / len(rows) ** 0.5
### END SOLUTION

# %% check="standard_error"
lab.check(checks.standard_error, error, figure.numbers, "scratch-b")

# %% [markdown] hint="standard_error"
# Keep the rows of that regime. The standard deviation of a sample divides by n - 1, which pandas does by default and NumPy does not; the standard error divides it by the root of n.

# %% [markdown]
# **Exercise 2.** *Easy, 5 minutes.* A figure was drawn 6.75 inches wide with text of 8 points. At which width, in inches, does its text come out at exactly 6 points, if LaTeX scales the figure to that width?

# %% exercise="printed_width" points=1
### BEGIN SOLUTION
inches = 6.75 * 6 / 8
### END SOLUTION

# %% check="printed_width"
lab.check(checks.printed_width, inches, 6.75, 8, 6)

# %% [markdown] hint="printed_width"
# Text and picture are scaled by the same factor.

# %% [markdown]
# **Exercise 3.** *Medium, 15 minutes.* Write the 95 % t interval of the mean difference of two paired samples: two arrays of equal length to the pair (low, high).

# %% exercise="paired_interval" points=2
def paired_interval(a, b):
    ### BEGIN SOLUTION
    difference = np.asarray(a) - np.asarray(b)
    n = len(difference)
    reach = stats.t.ppf(0.975, n - 1) * difference.std(ddof=1) / np.sqrt(n)
    return difference.mean() - reach, difference.mean() + reach
    ### END SOLUTION

# %% check="paired_interval"
lab.check(checks.paired_interval, paired_interval)

# %% [markdown] hint="paired_interval"
# Subtract pair by pair first; from there on it is the interval of one sample, as in section 6.

# %% [markdown] more="paired_interval"
# What pairing saves can be seen by shuffling one of the samples. It saves only where the two share something ([10](10_scratch_or_finetune.ipynb), section 5); try `scratch-b` in place of `finetune`.
#
# ```python
# a, b = (results.accuracies(r).to_numpy() for r in ("finetune", "lr-rewind"))
# print(paired_interval(a, b), paired_interval(np.roll(a, 1), b))
# ```

# %% [markdown]
# ## Recall
#
# 1. Why is a figure drawn at its final width instead of being scaled?
# 2. What does `bbox_inches="tight"` do to the width of a page?
# 3. How do you find out which fonts a PDF embeds?
# 4. What is the difference between a standard deviation, a standard error and a 95 % interval?
# 5. Why does a percentile bootstrap cover too little with few seeds?
# 6. Which files make a figure that somebody else can draw again?

# %% [markdown]
# ## Where to go next
#
# [13 · Fair budgets](13_fair_budgets.ipynb) looks at what the compared regimes may spend. [15 · Your own model and data](15_your_own_model_and_data.ipynb) makes results of your own to draw. [12 · Architecture patterns](12_architecture_patterns.ipynb) uses several of these figures.

# %% [markdown]
# ## References
#
# - Z. Liu, M. Sun, T. Zhou, G. Huang, T. Darrell. Rethinking the value of network pruning. ICLR 2019. [doi:10.48550/arXiv.1810.05270](https://doi.org/10.48550/arXiv.1810.05270)
# - N. P. Rougier, M. Droettboom, P. E. Bourne. Ten simple rules for better figures. PLOS Computational Biology 10, 2014. [doi:10.1371/journal.pcbi.1003833](https://doi.org/10.1371/journal.pcbi.1003833)
# - T. L. Weissgerber, N. M. Milic, S. J. Winham, V. D. Garovic. Beyond bar and line graphs. PLOS Biology 13, 2015. [doi:10.1371/journal.pbio.1002128](https://doi.org/10.1371/journal.pbio.1002128)
# - T. C. Hesterberg. What teachers should know about the bootstrap. The American Statistician 69, 2015. [doi:10.1080/00031305.2015.1089789](https://doi.org/10.1080/00031305.2015.1089789)
# - Student. The probable error of a mean. Biometrika 6, 1908. [doi:10.1093/biomet/6.1.1](https://doi.org/10.1093/biomet/6.1.1)
