# Two commands: `make demo` and `make test`. Everything lives in .venv (vLLM in .venv-vllm, the libraries
# that foreign models are compared with in .references, those of the benchmarks in .bench); `make clean` removes it.
# constraints.txt holds versions for the project's own machines; outside users do not need it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint constraints.txt
LANGCHAIN := integrations/langchain-mmrag
LLAMA_INDEX := integrations/llama-index-mmrag
OLDEST = OMP_NUM_THREADS=1 .venv-oldest/bin/python -m pytest -n $(JOBS) --dist loadfile
# Processes that run tests, up to 2 GB each.
JOBS ?= 2

.PHONY: demo test test-slow test-ui test-office test-oldest clean-install vllm llm test-vllm test-references lint types notebooks wheels release samples bench bench-small bench-env docs clean

$(VENV)/demo.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable '.[ocr]'
	touch $@

$(VENV)/dev.stamp: $(VENV)/demo.stamp $(LANGCHAIN)/pyproject.toml $(LLAMA_INDEX)/pyproject.toml
	$(INSTALL) --editable '.[dev]' --editable '$(LANGCHAIN)[test]' --editable '$(LLAMA_INDEX)[dev]'
	touch $@

demo: $(VENV)/demo.stamp            ## install, index the sample documents, ask six questions
	$(BIN)/mmrag demo --to demo

test: $(VENV)/dev.stamp             ## install what the tests need, run them: the core and both integrations
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile tests $(LANGCHAIN)/tests $(LLAMA_INDEX)/tests

test-slow: $(VENV)/dev.stamp        ## what takes more than ten seconds by itself
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) -m slow tests

# The driver comes from the package index, the browser from the system: playwright's own is not fetched.
test-ui: $(VENV)/dev.stamp          ## the page of `mmrag ui` in Chromium, which is installed where it is missing
	$(INSTALL) 'playwright>=1.45,<2'
	test -n "$$MMRAG_CHROMIUM" || command -v chromium || command -v chromium-browser \
		|| (apt-get update && apt-get install --yes --no-install-recommends chromium fonts-dejavu-core) \
		|| (echo "There is no chromium, and apt-get could not install it: install it, or name one with MMRAG_CHROMIUM." >&2; exit 1)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m ui tests/ui

# LibreOffice is the system's; without it these tests are skipped, and `make test` says so.
test-office: $(VENV)/dev.stamp      ## office files through LibreOffice, which is installed where it is missing
	command -v soffice || command -v libreoffice \
		|| (apt-get update && apt-get install --yes --no-install-recommends \
			libreoffice-writer-nogui libreoffice-calc-nogui libreoffice-impress-nogui fonts-dejavu-core) \
		|| (echo "There is no LibreOffice, and apt-get could not install it: install it, or name one with MMRAG_SOFFICE." >&2; exit 1)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) tests/documents/test_formats.py tests/documents/test_libreoffice.py tests/ingest/test_twelve_formats.py

test-oldest:                        ## the lowest versions that pyproject.toml allows, stage by stage
	$(PYTHON) scripts/make_oldest.py .venv-oldest core
	$(OLDEST) tests --ignore tests/models --ignore tests/training --ignore tests/vllm
	$(PYTHON) scripts/make_oldest.py .venv-oldest hosts
	$(OLDEST) $(LANGCHAIN)/tests $(LLAMA_INDEX)/tests
	$(PYTHON) scripts/make_oldest.py .venv-oldest torch
	$(OLDEST) tests/models tests/training

clean-install:                      ## both integrations and the container's steps, in empty environments
	$(PYTHON) scripts/check_install.py
	$(PYTHON) scripts/check_deploy.py

vllm:                               ## make .venv-vllm, where vLLM runs on a CPU, and two small models
	$(PYTHON) scripts/make_vllm.py .venv-vllm

test-vllm: $(VENV)/dev.stamp vllm   ## every served mode and both integrations, against real servers
	$(BIN)/python -m pytest -m vllm tests/vllm

llm: vllm                           ## a language model to measure with; MODEL=NAME another; SIZE=0.5b; INT8=1 faster
	.venv-vllm/bin/python scripts/make_llm.py .venv-vllm/llm$(if $(SIZE),-$(SIZE)) $(if $(MODEL),--model $(MODEL)) \
		$(if $(SIZE),--size $(SIZE)) $(if $(INT8),--int8)

# Two processes: colpali-engine changes the names under which transformers saves weights.
test-references: $(VENV)/dev.stamp  ## models and metrics against colpali-engine, sentence-transformers, ir-measures; mteb
	$(BIN)/python scripts/make_references.py .references
	PYTHONPATH=.references $(BIN)/python -m pytest tests/models/test_references.py tests/models/test_multi_vector.py
	PYTHONPATH=.references $(BIN)/python -m pytest tests/models/test_stock_processors.py
	PYTHONPATH=.references $(BIN)/python -m pytest tests/evaluation/test_reference_metrics.py tests/leaderboards

lint: $(VENV)/dev.stamp             ## ruff (bandit's rules, too), the direction of imports, the words
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q tests/test_package.py tests/test_words.py tests/test_public.py

types: $(VENV)/dev.stamp            ## mypy --strict
	$(BIN)/mypy
	cd $(LANGCHAIN) && ../../$(BIN)/mypy

notebooks: $(VENV)/dev.stamp        ## execute every notebook
	$(BIN)/python -m pytest -q --nbmake --nbmake-timeout=600 notebooks

wheels: $(VENV)/dev.stamp           ## build the three wheels into dist/
	for folder in . $(LANGCHAIN) $(LLAMA_INDEX); do \
		$(BIN)/python -m build --wheel --outdir dist $$folder || exit 1; done

release: $(VENV)/dev.stamp          ## wheels, sdists, hashes, bill of materials in dist/, tried; PYTHONS="python3.10 ..."
	$(BIN)/python scripts/release.py dist $(foreach python,$(PYTHONS),--python $(python))

samples: $(VENV)/dev.stamp          ## make the sample documents again
	$(BIN)/python scripts/make_samples.py

bench: $(VENV)/dev.stamp            ## measure, write docs/benchmarks.md; NAMES="scoring training" measures some
	OMP_NUM_THREADS=1 PYTHONPATH=.bench $(BIN)/python benchmarks/bench.py run $(NAMES) \
		$(if $(PACK),--pack $(PACK)) $(if $(INDEX),--index $(INDEX))

bench-small: $(VENV)/dev.stamp      ## every benchmark at its smallest: for correctness, never for time
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench.py small $(NAMES)

bench-env: $(VENV)/dev.stamp        ## make .bench: what others search with, measured beside ours
	$(BIN)/python scripts/make_bench.py .bench

# In an environment of its own: the site's tools read the code and never import it.
.docs/docs.stamp: scripts/site/requirements.txt
	test -x .docs/bin/python || $(PYTHON) -m venv .docs
	.docs/bin/python -m pip --disable-pip-version-check install --quiet --requirement $<
	touch $@

docs: .docs/docs.stamp              ## the site, into site/; a warning or a dead link ends it
	NO_MKDOCS_2_WARNING=1 .docs/bin/mkdocs build --strict --quiet --config-file scripts/site/mkdocs.yml
	$(PYTHON) scripts/site/check_site.py site

clean:
	rm -rf site .docs $(VENV) .venv-oldest .venv-vllm .references .bench demo dist build
