# Everything below needs only python3 (3.11 or newer, with venv), make and git; `make install` brings the rest.
PYTHON ?= python3
UV_VERSION := 0.13.8

BIN := .venv/bin
INSTALLED := .venv/.installed
PEERS := .venv-peers/.installed
# uv refuses to run where it cannot write its cache; it then does without one, as pip does by itself.
UV_CACHE = $${UV_CACHE_DIR:-$${XDG_CACHE_HOME:-$${HOME:-/nonexistent}/.cache}/uv}
# Compiled now, since whoever runs it later may not be allowed to write there, and would compile at each start.
UV_SYNC = $(BIN)/uv sync --quiet --frozen --all-extras --compile-bytecode --no-python-downloads --python $(BIN)/python
COMPILE = $(BIN)/python -m compileall -q app_sdk orchestrator sample_apps
# Two to four processes: more would only make them wait for each other's databases.
PARALLEL ?= -n logical --maxprocesses 4 --dist worksteal

.PHONY: help install demo test quick check chaos bench format clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

install: $(INSTALLED) ## Make .venv with all that the others need (they do it by themselves, once)
	@echo "Ready: $(BIN)/orchestrator"

$(INSTALLED): pyproject.toml uv.lock Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; \`$(PYTHON)\` is: $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Name another one: make $(or $(MAKECMDGOALS),install) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "\`$(PYTHON)\` has no venv module; on Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Installing into .venv (only the first time, and when the locked packages change) ..."
	@[ -x $(BIN)/python ] && $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(BIN)/uv --version 2>/dev/null | grep -qE '^uv $(UV_VERSION)( |$$)' || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	@if mkdir -p "$(UV_CACHE)" 2>/dev/null && [ -w "$(UV_CACHE)" ]; then $(UV_SYNC); else $(UV_SYNC) --no-cache; fi
	@$(COMPILE)
	@touch $@

# What the benchmarks compare with: packages of their own, which never meet those of .venv.
$(PEERS): $(INSTALLED)
	@echo "Installing the peers into .venv-peers ..."
	@mkdir -p "$(UV_CACHE)" 2>/dev/null && [ -w "$(UV_CACHE)" ] || cacheless=--no-cache; \
		UV_PROJECT_ENVIRONMENT=.venv-peers $(BIN)/uv sync --quiet --frozen --only-group peers --no-python-downloads \
		--python $(BIN)/python $$cacheless && touch $@ || echo "They could not be installed; the table will say so." >&2

demo: $(INSTALLED) ## Import a real data set with ten workers; KEEP=1 leaves it running and prints the URL
	@$(BIN)/orchestrator demo $(if $(KEEP),--keep)

test: $(INSTALLED) ## Every test, on SQLite and on PostgreSQL
	$(BIN)/pytest $(PARALLEL) $(ARGS)

quick: $(INSTALLED) ## Before each commit, in under a minute: all but the slow tests; PostgreSQL on the main path only
	$(BIN)/pytest --quiet $(PARALLEL) -m "not slow" -k "not postgresql or main_path" \
		--ignore tests/engine/caller --ignore tests/architecture $(ARGS)

check: $(INSTALLED) ## The lock, format, lint, types, layers
	$(BIN)/uv lock --check --offline --no-cache --quiet
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest --quiet tests/architecture

chaos: $(INSTALLED) ## Kills, storms and full disks at length: an hour or two; writes docs/reliability.md
	$(BIN)/python -m tests.chaos --report docs/reliability.md $(ARGS)

bench: $(INSTALLED) $(PEERS) ## Measure everything, other libraries too: about an hour; writes docs/performance.md
	$(BIN)/python -m benchmarks --report docs/performance.md $(ARGS)

format: $(INSTALLED) ## Format the code, and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove .venv, .venv-peers and every cache; the data in .orchestrator stays
	rm -rf .venv .venv-peers build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
