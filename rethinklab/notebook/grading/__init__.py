"""Handing out the lessons (handout.py, `rethinklab student`) and marking a folder of submissions
(`rethinklab grade`).

Of a submission only the answers count. Everything else is the lesson as it stands in
notebooks/source: what a student changed in other cells, the checks included, has no effect.

collect.py finds submissions and reads them into memory; lesson.py says what a lesson asks, and
answers.py what a submission answers. run.py starts one process for each submission, which is
sandbox.py: it executes the lesson and forks at each exercise, and only the fork (attempt.py)
executes what the student wrote, under the limits of refuse.py, and checks it with what guard.py
kept safe. watch.py compares files before and after; marks.py writes the tables.

What this is not: a boundary against an expert. An audit hook sees what Python does, not what a
library does in C (`torch.save` writes without asking it), and an answer shares its process with
the check that judges it, so a determined student can find a way to confirm their own answer. They
cannot reach the verdicts of other exercises or students by way of Python, and files that they
change anyway are put back. Where submissions come from strangers, run the command in a container
that has no network and nothing of value in it.
"""
