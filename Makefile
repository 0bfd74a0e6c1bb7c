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

# what `make run` and `make check-data` pass on, where it is given: NAME=value as --name value, NAME=1 as --name
VALUES := DATASET DUMPS LAYOUT SOURCE K_CORE K_CORE_USERS K_CORE_ITEMS FROM_DATE UNTIL_DATE LEAST_RATING \
	MINIMUM_HISTORY TIE_ORDER SPLIT VALIDATION_FROM TEST_FROM VALIDATION_USERS RECIPES FIT_ON SEED \
	TRAINING_PROCESS TRAINING_PROCESSES DEVICE PRECISION SEEDS AUDIT_MODEL
SWITCHES := VERIFIED_ONLY FIRST_INTERACTION_ONLY EXCLUDE_SEEN
option = --$(subst _,-,$(shell echo $(1) | tr A-Z a-z))
# of the names in $(1) those that are given, as options
given = $(foreach name,$(1),$(if $($(name)),$(call option,$(name)) "$($(name))"))
OPTIONS = $(call given,$(VALUES)) \
	$(foreach name,$(SWITCHES),$(if $(filter 1 true yes,$($(name))),$(call option,$(name)))) \
	$(if $(filter 0 false no,$(WAIT)),--no-wait)

.PHONY: help install run check-data download search reproduce compare ui test lint format clean

help:
	@echo "make run    from dumps to leaderboard and report; DATASET DUMPS K_CORE TIE_ORDER SEED VALIDATION_USERS"
	@echo "            EXCLUDE_SEEN=1 FIT_ON=train+validation RECIPES=quick|full|published or names, by commas,"
	@echo "            SEEDS=3 AUDIT_MODEL=recipe DEVICE=cuda may be given; without any, a demo dump"
	@echo "make check-data  landing, cleaning and contracts, training nothing; same options; exit 1 on a broken rule"
	@echo "make download    fetch the public files: DATASET, RELEASE=2014|2018|2023, ALL=1, INTO=folder, NO_METADATA=1"
	@echo "make search      better values of one recipe, by Optuna: DATASET RECIPE TRIALS SPACE=file"
	@echo "make reproduce   fit what docs/reproduction.md claims, and write it: DATA=folder CLAIMS DEVICE PROCESSES"
	@echo "make compare     two reports: what changed in data, rankings and metrics; A=folder B=folder, PAGE=file for Markdown"
	@echo "make ui     the Dagster UI on 127.0.0.1:$(PORT), same definitions and storage; prints its address with a token"
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

check-data: $(INSTALLED)
	@$(VENV)/bin/python -m orchestration.check_data $(OPTIONS) $(if $(filter 1 true yes,$(ACCEPT)),--accept) $(if $(filter 1 true yes,$(VERBOSE)),--verbose)

download: $(INSTALLED)
	@$(VENV)/bin/python -m orchestration.download --dataset "$(DATASET)" $(if $(RELEASE),--release "$(RELEASE)") \
		$(if $(INTO),--into "$(INTO)") $(if $(filter 1 true yes,$(ALL)),--all) \
		$(if $(filter 1 true yes,$(NO_METADATA)),--no-metadata)

search: $(INSTALLED)
	@$(VENV)/bin/python -m orchestration.search $(call given,DATASET RECIPE TRIALS SPACE) \
		$(if $(filter 0 false no,$(WAIT)),--no-wait)

reproduce: $(INSTALLED)
	@$(VENV)/bin/python -m orchestration.reproduce $(call given,DATA CLAIMS DEVICE THREADS PROCESSES PAGE)

compare: $(INSTALLED)
	@$(VENV)/bin/python -m orchestration.compare "$(A)" "$(B)" $(if $(PAGE),--markdown "$(PAGE)")

ui: $(INSTALLED)
	@$(VENV)/bin/python -m orchestration.ui --port $(PORT) $(if $(filter 0 false no,$(TOKEN)),--no-token)

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(INSTALLED)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# in the order of the folders, so that the files with few and long tests do not come last and alone; three workers on two
# cores, since those that wait for processes of their own leave the others room
test: lint
	$(VENV)/bin/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(PYTEST_OPTIONS)

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis dbt_project/target dbt_project/logs
