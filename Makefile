# Two commands: `make demo` and `make test`. Everything lives in .venv; `make clean` removes it.
# constraints.txt holds versions for the project's own machines; outside users do not need it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
export OMP_NUM_THREADS ?= 2

.PHONY: demo test lint types notebooks benchmarks wheel samples clean

$(VENV)/demo.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --editable '.[ocr]'
	touch $@

$(VENV)/dev.stamp: $(VENV)/demo.stamp
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(VENV)/demo.stamp            ## install, index the sample documents, ask five questions
	$(BIN)/mmrag demo --to demo

test: $(VENV)/dev.stamp             ## install what the tests need, run them
	$(BIN)/python -m pytest

lint: $(VENV)/dev.stamp             ## ruff, and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q tests/test_package.py

types: $(VENV)/dev.stamp            ## mypy --strict on mmrag/
	$(BIN)/mypy

notebooks: $(VENV)/dev.stamp        ## execute every notebook
	$(BIN)/python -m pytest -q --nbmake --nbmake-timeout=110 notebooks

wheel: $(VENV)/dev.stamp            ## build the wheel
	$(BIN)/python -m build --wheel --no-isolation

samples: $(VENV)/dev.stamp          ## make the sample documents again
	$(BIN)/python scripts/make_samples.py

clean:
	rm -rf $(VENV) demo dist build
