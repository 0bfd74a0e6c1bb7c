# raw2rank: `make run`, `make ui`, `make test`. Only Python 3.11, 3.12 or 3.13 and a package index are needed.

# the first that runs: a name on the PATH may belong to a version that pyenv has not switched on
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
	if "$$name" -c "" 2>/dev/null; then echo "$$name"; break; fi; done)
VENV := .venv
INSTALLED := $(VENV)/.installed
SPARK_VENV := .venv-spark
SPARK_INSTALLED := $(SPARK_VENV)/.installed
export RAW2RANK_HOME ?= $(CURDIR)/workspace
export DAGSTER_HOME := $(RAW2RANK_HOME)/dagster
export GX_ANALYTICS_ENABLED := false
export HF_HUB_OFFLINE := 1
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

# the variables of each command. Those that are given are passed on as --name=value, whatever their value; Python reads
# them, and refuses those that it does not know
SETTINGS := K_CORE K_CORE_USERS K_CORE_ITEMS FROM_DATE UNTIL_DATE VERIFIED_ONLY MIN_RATING FIRST_INTERACTION_ONLY \
	MIN_HISTORY TIE_ORDER SPLIT VALIDATION_FROM TEST_FROM FOLDS FOLD_DAYS LAST_ITEMS COLD_ITEMS VALIDATION_USERS TEST_USERS SEED FIT_ON \
	WARM_START RECIPES SEEDS PRETRAIN_ON AUDIT_MODEL EXCLUDE_SEEN RELEASE RELEASE_FIT_ON \
	RECOMMEND_ITEMS RECOMMEND_WHERE RECOMMEND_ONLY RECOMMEND_WITHOUT \
	TRAINING_PROCESS TRAINING_PROCESSES THREADS DEVICE PRECISION SHARDING COMPILE
# names that settings had before; Python says which to use now
OLD_NAMES := LEAST_RATING MINIMUM_HISTORY
run_OPTIONS := DATASET DUMPS LAYOUT SOURCE WAIT $(SETTINGS)
check-data_OPTIONS := $(run_OPTIONS) ACCEPT VERBOSE
download_OPTIONS := DATASET RELEASE INTO ALL NO_METADATA
search_OPTIONS := DATASET RECIPE TRIALS SPACE THREADS WAIT
reproduce_OPTIONS := DATA CLAIMS DEVICE THREADS PROCESSES PAGE
compare_OPTIONS := DATASET VERSIONS A B PAGE
history_OPTIONS := DATASET
clean-versions_OPTIONS := DATASET DRY_RUN WAIT
publish_OPTIONS := DATASET WAIT
fetch_OPTIONS := DATASET WAIT
promote_OPTIONS := DATASET VERSION REASON WAIT
rollback_OPTIONS := DATASET REASON WAIT
serve_OPTIONS := DATASET BUNDLE HOST PORT THREADS WAITING
ui_OPTIONS := PORT TOKEN ADDRESS NAMES CODE_SERVER
# taken from the command line only, since environments set them for other reasons. HOST is the name of the machine, or what
# the compilers of conda build for, and would open a server without authentication to other machines; TOKEN is a secret,
# which the error about a switch would quote
TYPED_ONLY := HOST TOKEN
# what the commands themselves are made of
OWN := PYTHON RAW2RANK_% PYTEST_OPTIONS VENV MAKE% -%
typed = $(filter-out $(OWN),$(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name))))
exported = $(foreach name,$(filter-out $(TYPED_ONLY),$($(1)_OPTIONS)) $(if $(filter K_CORE,$($(1)_OPTIONS)),$(OLD_NAMES)),$(if $(value $(name)),$(name)))
option = --$(subst _,-,$(shell echo $(1) | tr A-Z a-z))
# a value as it was given, `$$` and quotes included; what make hands to the environment of a command it expands first
unexport $(filter $(foreach names,$(filter %_OPTIONS,$(.VARIABLES)),$($(names))) $(OLD_NAMES),$(typed))
quoted = '$(subst ','\'',$(value $(1)))'
OPTIONS = $(foreach name,$(sort $(typed) $(call exported,$@)),$(call option,$(name))=$(call quoted,$(name)))

.PHONY: help install install-spark run check-data download search reproduce compare history clean-versions publish fetch promote rollback serve ui test test-slow test-cost test-fast coverage test-installed docs lint style sql types layers format clean

help:
	@echo "make run         from dumps to leaderboard and report; without DATASET, a demo dump"
	@echo "make check-data  landing, cleaning and contracts, training nothing; exit 1 on a broken rule"
	@echo "make download    fetch the public files: RELEASE=2014|2018|2023, ALL=1, INTO=folder, NO_METADATA=1"
	@echo "make search      better values of one recipe, by Optuna: SPACE=file"
	@echo "make reproduce   fit what docs/reproduction.md claims, and write it: DATA=folder"
	@echo "make compare     two reports: what changed in data, rankings and metrics; the last two of DATASET, VERSIONS=a,b of it, or A=folder B=folder; PAGE=file for Markdown"
	@echo "make history     the versions of DATASET that are on disk, and its leaderboards over time"
	@echo "make clean-versions  free disk: versions of DATASET (of all without) beyond RAW2RANK_KEEP, and old runs of Dagster; DRY_RUN=1 says what would go"
	@echo "make publish     the checked data of DATASET below the URL in RAW2RANK_SHARED_LAKE, for other machines"
	@echo "make fetch       the data of DATASET that another machine has published there"
	@echo "make promote     put a release in charge by hand: the candidate of DATASET, or VERSION=digest; REASON=text"
	@echo "make rollback    put the release in charge that was so before the present one: DATASET, REASON=text"
	@echo "make serve       the release in charge of DATASET over HTTP, on 127.0.0.1; BUNDLE=folder for one that lies elsewhere"
	@echo "make ui          the Dagster UI on 127.0.0.1, port 3000, same definitions and storage; prints its address with a token"
	@echo "make install-spark  Spark and its dbt in an environment of their own, for RAW2RANK_ENGINE=spark; needs Java 17"
	@echo "make lint        check style, format (make format corrects them), SQL, types and layers"
	@echo "make test        style, unit, dbt, orchestration and end-to-end tests, without the slow ones"
	@echo "make test-slow   the slow ones: runs that are killed and repeated, Postgres, every setting of the warehouse, all examples"
	@echo "make test-cost   seconds of processor of each folder, file and test: TESTS=path"
	@echo "make test-fast   the unit tests alone, without the slow ones"
	@echo "make coverage    the tests but the end-to-end ones, and the share of lines that they run"
	@echo "make test-installed  install the wheel in an environment of its own, elsewhere, and make a run there"
	@echo "make docs        the documentation as a site, in build/docs; a dead link fails"
	@echo "make clean       remove the environment and caches; the workspace stays"
	@echo
	@echo "Variables, as in make run DATASET=Beauty EXCLUDE_SEEN=yes (docs/options.md describes the settings):"
	@$(foreach command,run check-data download search reproduce compare history clean-versions publish fetch promote rollback serve,echo "  $(command): $($(command)_OPTIONS)";)

install: $(INSTALLED)

NO_PYTHON := error: no Python was found: install Python 3.11, 3.12 or 3.13, or name one by make PYTHON=/path/to/python
CHECK_PYTHON = import sys; sys.exit(None if (3, 11) <= tuple(sys.version_info[:2]) <= (3, 13) else \
	"error: raw2rank needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is %d.%d: name one by make PYTHON=/path/to/python" \
	% tuple(sys.version_info[:2]))

# the stamp is written last, so that an interrupted installation is taken up again
$(INSTALLED): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "$(NO_PYTHON)" >&2; exit 1; }
	@$(PYTHON) -c '$(CHECK_PYTHON)'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# Spark and the dbt that runs on it, in an environment of their own, for RAW2RANK_ENGINE=spark; Java is not installed
install-spark: $(SPARK_INSTALLED)

$(SPARK_INSTALLED): deploy/spark/requirements.lock
	@test -n "$(PYTHON)" || { echo "$(NO_PYTHON)" >&2; exit 1; }
	@$(PYTHON) -c '$(CHECK_PYTHON)'
	$(PYTHON) -m venv $(SPARK_VENV)
	$(SPARK_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r deploy/spark/requirements.lock
	@touch $@

run: $(INSTALLED)
	@$(VENV)/bin/python -m orchestration.commands.run $(OPTIONS)

check-data: $(INSTALLED)
	@$(VENV)/bin/python -m orchestration.commands.check_data $(OPTIONS)

download: $(INSTALLED)
	@$(VENV)/bin/python -m orchestration.commands.download $(OPTIONS)

search: $(INSTALLED)
	@$(VENV)/bin/python -m orchestration.commands.search $(OPTIONS)

reproduce: $(INSTALLED)
	@$(VENV)/bin/python -m orchestration.commands.reproduce $(OPTIONS)

compare: $(INSTALLED)
	@$(VENV)/bin/python -m orchestration.commands.compare $(OPTIONS)

history: $(INSTALLED)
	@$(VENV)/bin/python -m orchestration.commands.history $(OPTIONS)

clean-versions: $(INSTALLED)
	@$(VENV)/bin/python -m orchestration.commands.clean $(OPTIONS)

publish: $(INSTALLED)
	@$(VENV)/bin/python -m orchestration.commands.publish $(OPTIONS)

fetch: $(INSTALLED)
	@$(VENV)/bin/python -m orchestration.commands.fetch $(OPTIONS)

promote: $(INSTALLED)
	@$(VENV)/bin/python -m orchestration.commands.promote $(OPTIONS)

rollback: $(INSTALLED)
	@$(VENV)/bin/python -m orchestration.commands.rollback $(OPTIONS)

serve: $(INSTALLED)
	@$(VENV)/bin/python -m orchestration.commands.serve $(OPTIONS)

ui: $(INSTALLED)
	@$(VENV)/bin/python -m orchestration.commands.ui $(OPTIONS)

lint: style sql types layers

style: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

sql: $(INSTALLED)
	$(VENV)/bin/sqlfluff lint --disable-progress-bar dbt_project

# two minutes the first time, then seconds
types: $(INSTALLED)
	$(VENV)/bin/mypy

# which room may import which, and that no two import each other
layers: $(INSTALLED)
	$(VENV)/bin/lint-imports --no-cache --no-logo

format: $(INSTALLED)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# in the order of the folders, so that the files with few and long tests do not come last and alone; three workers on two
# cores, since those that wait for processes of their own leave the others room
test: style
	$(VENV)/bin/python -m pytest --numprocesses 3 --timeout 900 --dist loadfile --no-loadscope-reorder $(PYTEST_OPTIONS)

# whole runs that are killed, repeated or run at once, every setting of the warehouse, comparisons that compile first; and
# all examples of the tests of which `make test` draws a quarter
test-slow: $(INSTALLED)
	$(VENV)/bin/python -m pytest -m "slow or hypothesis" --hypothesis-profile thorough --numprocesses 3 --timeout 900 --dist loadfile --no-loadscope-reorder $(PYTEST_OPTIONS)

# one worker, since what several share has no test of its own
test-cost: $(INSTALLED)
	$(VENV)/bin/python -m pytest -q --costs 25 --timeout 900 $(TESTS) $(PYTEST_OPTIONS)

test-fast: $(INSTALLED)
	$(VENV)/bin/python -m pytest tests/unit --numprocesses 2 --dist loadfile $(PYTEST_OPTIONS)

# lines that the tests run, in processes that they start too; fails below the floor that pyproject.toml names. It slows the
# tests down, so it is no part of `make test`
coverage: $(INSTALLED)
	rm -f .coverage .coverage.*
	$(VENV)/bin/coverage run -m pytest tests/unit tests/dbt tests/orchestration -m "slow or not slow" --numprocesses 2 --timeout 1800 \
		--dist loadfile $(PYTEST_OPTIONS)
	$(VENV)/bin/coverage combine --quiet
	$(VENV)/bin/coverage report

test-installed: $(INSTALLED)
	$(VENV)/bin/python -m pytest -m installed $(PYTEST_OPTIONS)

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet --config-file docs/site/mkdocs.yml
	@echo "the site is in build/docs; its search needs a server: python3 -m http.server --bind 127.0.0.1 -d build/docs"

clean:
	rm -rf $(VENV) $(SPARK_VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage .coverage.* \
		dbt_project/target dbt_project/logs
