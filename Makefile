# PerpsTrader: `make run` starts it, `make test` proves it. Needs Python 3.11 or newer with venv and pip, and make.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
# Two workers fit the smallest machine that the tests are meant for.
PYTEST_ARGS ?= -n 2 --dist worksteal
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps

.PHONY: help setup run test prove services lint pins clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

setup: $(VENV)/.setup-done ## make .venv with what the program needs
run: setup ## start the trader on its paper exchange; ARGS="--duration 20s" is passed on
	@$(BIN)/perpstrader run $(ARGS)

test: $(VENV)/.dev-done services lint ## install what the tests need; lint, types, import rules, all tests
	@echo "== tests"
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

prove: $(VENV)/.dev-done services lint ## the same tests at full size; writes build/prove.json
	@echo "== tests at full size"
	@PERPSTRADER_PROVE=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

# Where it cannot be installed its tests are skipped, in continuous integration they fail.
services: ## install the PostgreSQL server that tests start, where that can be done
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || { \
		echo "== PostgreSQL server for the tests"; \
		AS=; [ "$$(id -u)" = 0 ] || AS="sudo -n"; \
		{ command -v apt-get && $$AS apt-get update -qq && $$AS env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends postgresql; } >/dev/null 2>&1 \
			|| echo "it cannot be installed here: apt-get install postgresql, or name its folder in PERPSTRADER_POSTGRES_BIN"; }

lint: $(VENV)/.dev-done ## ruff, mypy --strict and the import rules
	@echo "== ruff"
	@$(BIN)/ruff check src tests
	@echo "== mypy --strict"
	@$(BIN)/mypy
	@echo "== import rules"
	@$(BIN)/lint-imports

# The stamps are newer than the pins they were made from, so that a second call does nothing.
$(VENV)/.setup-done: requirements/runtime.txt pyproject.toml
	@echo "== environment in $(VENV) ($$($(PYTHON) --version))"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "PerpsTrader needs Python 3.11 or newer, this is %d.%d: make setup PYTHON=python3.11" % sys.version_info[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "== packages the program needs (requirements/runtime.txt)"
	@$(PIP_INSTALL) -r requirements/runtime.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev-done: requirements/dev.txt $(VENV)/.setup-done
	@echo "== packages the tests need (requirements/dev.txt)"
	@$(PIP_INSTALL) -r requirements/dev.txt
	@touch $@

# No index address enters the pins, and a private index of this machine has no say in their hashes.
COMPILE := PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS= build/pins/bin/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe \
	--no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options --upgrade

pins: ## renew requirements/*.txt from pyproject.toml
	@test -x build/pins/bin/pip-compile || { $(PYTHON) -m venv build/pins && build/pins/bin/python -m pip install --quiet 'pip-tools==7.6.2'; }
	@echo "== requirements/runtime.txt"
	@$(COMPILE) --extra replay --extra analytics --extra postgres --output-file requirements/runtime.txt pyproject.toml requirements/build.in
	@echo "== requirements/dev.txt"
	@$(COMPILE) --extra replay --extra analytics --extra postgres --extra dev --constraint requirements/runtime.txt --output-file requirements/dev.txt pyproject.toml requirements/build.in
	@sed -i '/^# The following packages are considered to be unsafe/d' requirements/dev.txt

clean: ## remove what was built, the environment too
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
