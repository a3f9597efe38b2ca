# The front door: `make demo`, `make test`, `make test-slow`, `make check`. Each sets up what it needs, from Python and make alone.

VENV = .venv
PYTHONS ?= python3.13 python3.12 python3.11 python3 python
DEMO_ARGS ?=
PYTEST_ARGS ?=
PYTHON = $(VENV)/bin/python

export WANDB_MODE ?= offline
export NO_ALBUMENTATIONS_UPDATE ?= 1

.PHONY: help venv demo test test-slow check format clean

help:
	@echo "make demo    train source-only and adapted networks on generated streets (DEMO_ARGS=...)"
	@echo "make test    run the tests but for the slow ones (PYTEST_ARGS=...)"
	@echo "make test-slow  run those: real processes, whole trainings, large networks"
	@echo "make check   ruff, ruff format --check, mypy --strict"
	@echo "make format  let ruff rewrite what it can"
	@echo "make clean   remove caches and builds; the environment ($(VENV)) and outputs/ stay"

# A name on the PATH may be a shim that does not run, so each candidate is asked for its version.
venv:
	@for python in $(PYTHONS); do \
	  if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	  then exec $$python scripts/make_venv.py "$(VENV)"; fi; \
	done; \
	echo "error: no Python 3.11 or newer (with venv and ensurepip) among: $(PYTHONS); install one, or name it: make PYTHONS=/path/to/python3" >&2; \
	exit 1

demo: venv
	$(PYTHON) scripts/demo.py $(DEMO_ARGS)

test: venv
	HF_HUB_OFFLINE=1 $(PYTHON) -m pytest -q -m "not slow" $(PYTEST_ARGS)

test-slow: venv
	HF_HUB_OFFLINE=1 $(PYTHON) -m pytest -q -m slow $(PYTEST_ARGS)

check: venv
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

format: venv
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache
	find sepico_pl tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
