# Everything there is to do with a clone. Each target installs what it needs, says what it does, and can be run twice.
# Works with GNU Make 3.81 and a POSIX shell.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# `make serve PORT=8081 HOST=0.0.0.0`. HOST counts only on make's command line: some shells export their machine's name as HOST.
SERVE := $(if $(PORT),--port $(PORT))
ifeq ($(origin HOST),command line)
SERVE += --host $(HOST)
endif

.PHONY: help serve demo test lint bench docs pictures lock wheel vet clean guide runtime tools

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

serve: runtime guide ## start Ringbook here; PORT=8081 and HOST=0.0.0.0 change the address
	@.venv/bin/ringbook serve $(SERVE)

demo: runtime guide ## show 30 days of an app with invented users, on a server of its own; NEW=1 makes them anew
	@.venv/bin/python demo $(SERVE) $(if $(NEW),--new)

test: tools ## run all tests; TESTS="tests/core -k force" runs some
	@echo "Running the tests on three processes ..."
	@PYTHONDONTWRITEBYTECODE= .venv/bin/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder -q $(TESTS)

lint: ## check style, types and the layers of imports
	@sh scripts/venv.sh requirements-dev.lock
	@echo "Checking style (ruff), types (mypy) and layers (import-linter) ..."
	@.venv/bin/ruff check --quiet
	@.venv/bin/ruff format --check --quiet || { echo "Run .venv/bin/ruff format to fix the format." >&2; exit 1; }
	@.venv/bin/mypy --strict src
	@.venv/bin/mypy --strict --python-version 3.10 client/src
	@said=$$(.venv/bin/lint-imports --no-logo) || { echo "$$said" >&2; exit 1; }

bench: ## measure speed and memory
	@sh scripts/venv.sh requirements-dev.lock
	@.venv/bin/python bench/run.py

docs: ## write docs/openapi.json and the tables in the documents, and build the guide that the server shows at /guide
	@sh scripts/venv.sh requirements-dev.lock
	@.venv/bin/ringbook openapi >docs/openapi.json.new
	@mv docs/openapi.json.new docs/openapi.json
	@.venv/bin/python scripts/client_reference.py docs/client/reference.md
	@.venv/bin/python bench/attack/permits.py docs/privacy.md
	@.venv/bin/python scripts/provider_table.py docs/how-to/push.md
	@.venv/bin/python scripts/guide.py
	@echo "docs/openapi.json and the written parts of docs/client/reference.md, docs/privacy.md and docs/how-to/push.md are up to date."
	@echo "The guide is built: a running server shows it at /guide."

pictures: tools ## redraw docs/images/dashboard and the picture in README.md with Chromium
	@.venv/bin/python tests/dashboard/pictures.py
	@.venv/bin/python tests/dashboard/product.py

lock: ## renew the lock files from pyproject.toml
	@sh scripts/venv.sh requirements-dev.lock
	@sh scripts/lock.sh

wheel: ## build the wheel: dist/ringbook-….whl
	@sh scripts/venv.sh requirements-dev.lock
	@.venv/bin/python scripts/guide.py
	@rm -f dist/ringbook-*.whl
	@.venv/bin/python -m hatchling build -t wheel -d dist

vet: ## check deploy/ with systemd, Caddy, Prometheus and Compose
	@sh scripts/check-deploy.sh

clean: ## remove everything that make created, except databases and the demo
	@rm -rf .venv .venv.lock .cache build dist src/ringbook/server/site tests/e2e/node_modules .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "Removed .venv, node_modules and the caches."

# Only where `make docs` or `make test` has installed what builds it.
guide: runtime
	@.venv/bin/python scripts/guide.py --if-stale

runtime:
	@sh scripts/venv.sh requirements.lock

tools:
	@sh scripts/test-tools.sh
	@sh scripts/venv.sh requirements-dev.lock
