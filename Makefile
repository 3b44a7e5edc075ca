# ZSDS: `make run` and `make test` do all set-up themselves. `make help` lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/bash
# Some machines forbid Python to keep what it has compiled: every process then compiles its imports anew.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
UV_VERSION := 0.13.9
# INSTALLER=pip does without uv, which is otherwise used where present, or installed into .venv.
INSTALLER ?= uv

.PHONY: help run test up down lint format lock bench docs clean install

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 12

install: $(INSTALLED) ## create the environment in .venv

$(INSTALLED): requirements.txt pyproject.toml
	@echo "Setting up $(VENV) with $$($(PYTHON) --version 2>&1) (once; about a minute)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	  || { echo "ZSDS needs Python 3.11; install it or say PYTHON=/path/to/python3.11 make ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test "$(INSTALLER)" = pip || command -v uv >/dev/null || test -x $(BIN)/uv \
	  || $(BIN)/python -m pip install --quiet uv==$(UV_VERSION) || true
	@export PATH="$$PATH:$$PWD/$(BIN)" UV_SYSTEM_CERTS=1 UV_NATIVE_TLS=1; \
	echo "Installing $$(grep -c == requirements.txt) locked packages"; \
	install() { "$$@" --no-deps -r requirements.txt && "$$@" --no-deps --editable .; }; \
	{ test "$(INSTALLER)" != pip && command -v uv >/dev/null \
	  && install uv pip install --quiet --python $(BIN)/python; } \
	|| { echo "Installing with pip (slower than uv)"; install $(BIN)/python -m pip install --quiet; }
	@echo "Compiling kernels (once; a minute or two)"
	@$(BIN)/zsds warm
	@touch $(INSTALLED)

run: $(INSTALLED) ## a night from raw frames to catalogues and report, through Airflow
	@$(BIN)/zsds run

test: $(INSTALLED) ## lint, types, import contracts, all tests, a small night through the scheduler
	@$(MAKE) --no-print-directory lint
	@# A file is one worker's, in order: the night, which waits more than it works, has the first.
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --durations=30

lint: $(INSTALLED) ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

up: $(INSTALLED) ## start Airflow and Ray and leave them running; prints address and login
	@$(BIN)/zsds up

down: ## stop what `make up` or `make run` started, and nothing else
	@if test -x $(BIN)/zsds; then $(BIN)/zsds down; else echo "nothing installed, nothing to stop"; fi

format: $(INSTALLED) ## let ruff format and mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(INSTALLED) ## resolve requirements.txt anew from pyproject.toml
	$(BIN)/python -m pip install --quiet uv==$(UV_VERSION)
	$(BIN)/uv pip compile --quiet --python-version 3.11 --extra dev --no-header --no-annotate \
	  pyproject.toml -o requirements.txt

docs: $(INSTALLED) ## write the generated pages of docs/ anew
	$(BIN)/zsds dictionary > docs/data-dictionary.md

bench: $(INSTALLED) ## measure what docs/benchmarks.md states
	@for script in tests/benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean: down ## forget simulated nights, archive, Airflow's state; keeps the environment
	rm -rf var
