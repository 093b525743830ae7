"""Handing out the lessons (handout.py, `rethinklab student`) and marking a folder of submissions
(`rethinklab grade`).

Of a submission only the answers count. Everything else is the lesson as it stands in
notebooks/source: what a student changed in other cells, the checks included, has no effect.

collect.py finds submissions and reads them into memory; lesson.py says what a lesson asks, and
answers.py what a submission answers. grade.py marks all of them: run.py each by itself, in a
process that isolation.py keeps apart from the machine and in which inside.py runs the lesson,
answers and checks. marks.py keeps the tables, and handback.py makes pages, gradebooks and the list
of answers that are alike of them. What a student can forge all the same stands in
notebooks/INSTRUCTOR.md.
"""
