# Needs git, make and Python 3.11 or newer; everything else comes from uv.lock.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# What pip is told about indexes, proxies and certificates holds for everything
# here: uv only reads the lock, pip installs. What builds is locked as well:
# nothing enters without a hash that stands in this folder.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help install browser systemd demo dev test test-slow reliability audit check lint bench fmt clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP) ## Install into .venv what uv.lock says

$(STAMP): pyproject.toml uv.lock bootstrap.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.12"; exit 1; }
	@echo "Installing into $(VENV), once; about a minute …"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install --require-hashes --no-deps --requirement bootstrap.txt
	@$(BIN)/uv export --quiet --frozen --all-extras --no-emit-project --output-file $(VENV)/lock.txt
	@$(PIP) install --require-hashes --no-deps --no-build-isolation --requirement $(VENV)/lock.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## Load a made-up week through Dagster and show what came of it
	@$(BIN)/python -m pushloss_pipeline.demo

dev: $(STAMP) ## Start Dagster's UI and daemon with your pushloss.toml
	@$(BIN)/pushloss status >/dev/null
	@umask 077; exec env -u DAGSTER_HOME $(BIN)/dagster dev --host 127.0.0.1

browser: # the report is tested in Debian's Chromium; its texts need a Chinese font
	@command -v chromium >/dev/null && fc-list 2>/dev/null | grep -q "CJK" || { \
		echo "Installing chromium and fonts-noto-cjk …"; \
		SUDO=$$([ "$$(id -u)" = 0 ] || command -v sudo || true); \
		$$SUDO apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive $$SUDO apt-get install -qq -y --no-install-recommends \
			chromium fontconfig fonts-noto-cjk >/dev/null; \
	} || { echo "The tests need chromium: sudo apt-get install chromium fonts-noto-cjk"; exit 1; }

systemd: # the unit files of deploy/ are tested by systemd-analyze
	@command -v systemd-analyze >/dev/null || { \
		echo "Installing systemd …"; \
		SUDO=$$([ "$$(id -u)" = 0 ] || command -v sudo || true); \
		$$SUDO apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive $$SUDO apt-get install -qq -y --no-install-recommends \
			systemd >/dev/null; \
	} || { echo "The tests need systemd-analyze: sudo apt-get install systemd"; exit 1; }

test: $(STAMP) browser systemd ## Run the test suite
	@$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not slow"

test-slow: $(STAMP) ## Run the tests that take minutes
	@$(BIN)/pytest -n 2 --dist loadfile -m slow

reliability: $(STAMP) browser ## Attack it, all of it, and write docs/reliability.md anew
	@PUSHLOSS_WRITE_DOCS=1 $(BIN)/pytest -m "" tests/trust

audit: $(STAMP) ## Look all that uv.lock names up among the known vulnerabilities
	@$(BIN)/python -m tests.trust.audit

bench: $(STAMP) ## Time the views on a million rows
	@$(BIN)/python -m benchmarks.views

lint: $(STAMP) ## Check format, types, floors and SQL
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/ruff check --quiet
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache | tail -n 9
	@$(BIN)/sqlfluff lint --nocolor --disable-progress-bar sql

check: lint test ## All that must hold before a change lands

fmt: $(STAMP) ## Format Python and SQL
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix
	@$(BIN)/sqlfluff fix --disable-progress-bar sql

clean: ## Remove the installation and caches; data stays
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
