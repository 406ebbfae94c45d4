# `make demo` and `make test` need nothing but Python 3.11 or newer: each makes its own virtual
# environment, installs into it what is missing and runs. Both are quick when repeated.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-lowest coverage lint format docs gallery clean

demo: $(VENV)/.installed
	$(BIN)/skdiffuse demo --out demo $(DEMO_ARGS)

test: $(VENV)/.installed-dev lint
	$(BIN)/python -m pytest -n 2 --dist worksteal $(TEST_ARGS)

# Lines and branches of the package that the tests run, of TEST_ARGS or of all of them; what is not
# run is listed by line. Tests read off the sources count nothing.
coverage: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov=skdiffuse --cov-branch \
		--cov-report=term-missing:skip-covered $(TEST_ARGS)

# With the oldest versions that pyproject.toml allows, in an environment of their own. torch stays at
# the pinned CPU wheel: its oldest is on PyPI as a CUDA build of gigabytes.
LOWEST ?= .venv-lowest
LOWEST_TESTS ?= tests/test_contract.py tests/estimator/test_precip_diffusion.py tests/cubes/test_writing.py tests/metrics/test_intensity.py
test-lowest:
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(PYTHON) .ci/lowest_versions.py > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint $(LOWEST)/lowest.txt --editable '.[lazy]' pytest hypothesis
	$(LOWEST)/bin/python -m pytest -q -p no:cacheprovider $(LOWEST_TESTS)

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
	rm -rf $(VENV) $(LOWEST) demo build *.egg-info
