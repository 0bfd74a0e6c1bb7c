# raw2rank: `make run`, `make ui`, `make test`. Only Python 3.11 and a package index are needed.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PORT ?= 3000
VENV := .venv
INSTALLED := $(VENV)/.installed
export RAW2RANK_HOME ?= $(CURDIR)/workspace
export DAGSTER_HOME := $(RAW2RANK_HOME)/dagster
export GX_ANALYTICS_ENABLED := false
export HF_HUB_OFFLINE := 1
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

# what `make run` passes on, where it is given
OPTIONS = $(if $(DATASET),--dataset "$(DATASET)") \
	$(if $(DUMPS),--dumps "$(DUMPS)") \
	$(if $(K_CORE),--k-core "$(K_CORE)") \
	$(if $(TIE_ORDER),--tie-order "$(TIE_ORDER)") \
	$(if $(VALIDATION_USERS),--validation-users "$(VALIDATION_USERS)") \
	$(if $(RECIPES),--recipes "$(RECIPES)") \
	$(if $(SEED),--seed "$(SEED)") \
	$(if $(filter 1 true yes,$(EXCLUDE_SEEN)),--exclude-seen)

.PHONY: help install run ui test lint format clean

help:
	@echo "make run    from dumps to leaderboard and report; DATASET DUMPS K_CORE TIE_ORDER RECIPES SEED"
	@echo "            VALIDATION_USERS EXCLUDE_SEEN=1 may be given; without any, a demo dump"
	@echo "make ui     the Dagster UI on http://127.0.0.1:$(PORT), same definitions and storage"
	@echo "make test   lint, unit, dbt, orchestration and end-to-end tests"
	@echo "make clean  remove the environment and caches; the workspace stays"

install: $(INSTALLED)

# the stamp is written last, so that an interrupted installation is taken up again
$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

run: $(INSTALLED)
	@$(VENV)/bin/python -m orchestration.run $(OPTIONS)

ui: $(INSTALLED)
	@$(VENV)/bin/python -m orchestration.ui --port $(PORT)

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(INSTALLED)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

test: lint
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile $(PYTEST_OPTIONS)

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis dbt_project/target dbt_project/logs
