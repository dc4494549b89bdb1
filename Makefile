# The two commands of a newcomer: `make demo` and `make test`. Both make the same environment first.
VENV ?= .venv
LOWEST ?= .venv-lowest
PYTHON ?= python3
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-all test-lowest soak fuzz check clean

# Arguments of the demonstration, as for `mlembed train`: make demo ARGS="trainer.max_steps=5"
ARGS ?=

demo: $(READY)
	$(BIN)/mlembed train $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not slow" tests

test-all: $(READY)
	$(BIN)/python -m pytest -n 2 tests

# 200 short trainings that are killed at random; hours are well spent here before a release: make soak ARGS="--runs 1000 --seed 7"
soak: $(READY)
	$(BIN)/python scripts/soak.py $(ARGS)

# The same tests with the lowest versions that pyproject.toml allows, in an environment of their own.
test-lowest: $(LOWEST)/.ready
	$(LOWEST)/bin/python -m pytest -n 2 -m "not slow" tests

# Hostile input by the thousand, 100,000 for each reader: make fuzz INPUTS=1000 TARGETS="tmx po"
INPUTS ?= 100000
TARGETS ?=
fuzz: $(READY)
	$(BIN)/python scripts/fuzz.py $(TARGETS) --inputs $(INPUTS)

check: $(READY)
	$(BIN)/ruff check mlembed tests scripts
	$(BIN)/ruff format --check mlembed tests scripts
	$(BIN)/mypy mlembed

# The constraints pin what is tried; torch among it, whose newest build would bring gigabytes of CUDA.
# seqeval comes as source; the old way of pip to build it fails where wheel is installed, as at a second `make`.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 -c constraints.txt -e ".[demo,dev]"
	touch $(READY)

$(LOWEST)/.ready: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-lowest.txt torch
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --use-pep517 -c constraints-lowest.txt -e ".[demo,dev]"
	touch $@

clean:
	rm -rf $(VENV) $(LOWEST) fuzz-findings build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
