# `make demo` and `make test` need nothing but Python 3.11 or newer: each makes its own virtual
# environment, installs into it what is missing and runs. Both are quick when repeated.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint format docs gallery clean

demo: $(VENV)/.installed
	$(BIN)/skdiffuse demo --out demo $(DEMO_ARGS)

test: $(VENV)/.installed-dev lint
	$(BIN)/python -m pytest -n 2 --dist worksteal $(TEST_ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The pages in build/site/html; `gallery` runs every example first, which takes minutes.
docs: $(VENV)/.installed-docs
	$(BIN)/python site/build.py

gallery: $(VENV)/.installed-docs
	$(BIN)/python site/build.py --gallery

# torch is installed by itself first, at the pinned version, so that no other package's
# requirement can pull in a different (CUDA) build.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --constraint constraints.txt torch
	$(PIP) --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) --constraint constraints.txt --editable '.[dev]'
	$(PIP) --constraint constraints.txt --editable '.[pysteps]' || \
		echo "pysteps was not built, for want of a C compiler perhaps: its tests are skipped."
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) --constraint constraints.txt --editable '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) demo build *.egg-info
