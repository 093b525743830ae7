# make demo   the main job on embedded data: table, verdict, figure
# make test   everything that must hold
# make lab    the notebooks in JupyterLab
# make check  style, types and start-up times
# make bench  training on this processor, against a bare step and the usual loop; bench-gpu on a GPU
# make notebooks / figures   made anew from the code and the committed results
# make docs   the website, into build/site/html
#
# Each creates .venv from pyproject.toml if needed. VENV=... puts it elsewhere, PYTHON=... chooses
# the interpreter (3.10 or newer).

VENV ?= .venv
BIN := $(VENV)/bin
RECENT := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python; \
	do $$p -c '$(RECENT)' >/dev/null 2>&1 && echo $$p && break; done)

.PHONY: demo test lab check bench bench-gpu notebooks figures docs

demo: $(VENV)/.installed
	$(BIN)/rethinklab demo

test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

lab: $(VENV)/.installed
	$(BIN)/rethinklab lab

check: $(VENV)/.installed
	$(BIN)/ruff check rethinklab tests benchmarks docs
	$(BIN)/mypy
	$(BIN)/python -m benchmarks.startup

bench: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.cpu
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.workers

bench-gpu: $(VENV)/.installed
	$(BIN)/python -m benchmarks.gpu

notebooks: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m rethinklab.notebook.execute notebooks/source/*.py

figures: $(VENV)/.installed
	$(BIN)/rethinklab figures forest --from data/results --out figures --format png
	$(BIN)/rethinklab summary --readme README.md

docs: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python docs/site/build.py

$(VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "rethinklab needs Python 3.10 or newer with the venv module, and \
	there is none on the PATH. Install one (Debian: apt install python3-venv), or name it: \
	make PYTHON=/path/to/python3"; exit 1; }
	@echo "Making $(VENV) with $(PYTHON): a few minutes and some 6 GB, once."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	@touch $@
