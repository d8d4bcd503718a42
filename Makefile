# Needs Python 3.10 or newer, git and make; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?=
OUT ?= demo

.PHONY: demo test coverage lint types check bundles docs clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: $(VENV)/installed  ## phantoms (or DATA=folder) in; a trained bundle, masks, scores and a page out
	$(BIN)/delineate demo --out "$(OUT)" $(if $(DATA),--data "$(DATA)")

test: $(VENV)/installed-dev  ## all tests, three at a time, for some wait; compiled modules are kept, or each of many processes compiles all anew
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

coverage: $(VENV)/installed-dev  ## the same tests, and how much of the code they run; a third slower
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-dev  ## mypy sees the tree under its import name, through a link
	mkdir -p .typecheck && ln -sfn .. .typecheck/delineate
	MYPYPATH=.typecheck $(BIN)/mypy -m delineate -p delineate.networks -p delineate.pipelines

check: lint types test

bundles: $(VENV)/installed  ## the shipped bundles, built anew from configs/; their weights and model cards stay
	for task in $$(ls configs/tasks); do \
		$(BIN)/delineate bundle new bundles/$$task --task $$task \
			$$(test -d bundles/$$task && echo --replace) || exit 1; \
	done

docs: $(VENV)/installed  ## docs/networks.md, docs/performance.md and their pictures, from the registry and the CSVs in benchmarks/
	$(BIN)/python benchmarks/networks_page.py
	$(BIN)/python benchmarks/performance_page.py

clean:
	rm -rf $(VENV) .typecheck build
