# `make demo` and `make test` create the environments that they need (.venv, .venv-dlc), then run.

# The first Python that dlcexp runs on.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	$$python -c "import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))" \
	2> /dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
DLC := .venv-dlc
INSTALLED := $(VENV)/.installed
DLC_INSTALLED := $(DLC)/.installed

.PHONY: help install interop demo test test-fast lint format docs clean

help:
	@echo "make demo       set up, then train, evaluate and export on the synthetic project"
	@echo "make test       set up, then run the linters and all tests, including those with DeepLabCut"
	@echo "make test-fast  run the fast tests on all cores, without DeepLabCut (under five minutes)"
	@echo "make lint       run ruff, mypy and import-linter"
	@echo "make format     format the code with ruff"
	@echo "make docs       build the documentation into build/docs"
	@echo "make interop    create the environment of DeepLabCut"
	@echo "make clean      remove both environments"

install: $(INSTALLED)
interop: $(DLC_INSTALLED)

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || command -v "$(PYTHON)" > /dev/null || { echo "dlcexp needs Python 3.11, 3.12 or 3.13, with its module venv; none was found. If there is one, name it: make PYTHON=/path/to/python3" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

# DeepLabCut pins older versions of the packages that dlcexp uses, so it has a separate environment,
# which uses torch, the largest package, from .venv.
$(DLC_INSTALLED): $(INSTALLED)
	test -x $(DLC)/bin/python || $(BIN)/python -m venv $(DLC)
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
		> $$($(DLC)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/shared_torch.pth
	$(DLC)/bin/python -m pip install --quiet "deeplabcut==3.0.2"
	touch $@

demo: install
	$(BIN)/dlcexp experiment=demo hydra.run.dir=runs/demo resume=never
	$(BIN)/dlcexp export run=runs/demo export.file=runs/demo/exported_pytorch_config.yaml

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=src $(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Two processes. The tests of one file run in the same process, because they share runs.
test: install interop lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-fast: install
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow and not interop"

docs: install
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "documentation: build/docs/index.html"

clean:
	rm -rf $(VENV) $(DLC)
