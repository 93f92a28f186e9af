# Needs Python 3.11+ with venv, and a package index. Another Python: make env PYTHON=python3.12
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help env demo test hosts soak lint docs audit bench clean

help:  ## print this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile

env: .venv/.done  ## make .venv from constraints.txt, or bring it up to date
demo: env  ## the embedded experiment, up to its HTML report
	@$(BIN)/rum-ray demo
test: env  ## every test that needs no GPU and no outside data
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not cluster"
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "cluster and not soak" --ignore=tests/hosts
hosts: env  ## the command on several hosts of namespaces; needs root, takes 10 minutes
	@$(BIN)/python -m pytest -s tests/hosts
soak: env  ## the fault campaign, 30 minutes; SOAK="--seed 1 --minutes 5" repeats or shortens it
	@$(BIN)/python -m pytest -m soak --ignore=tests/hosts
	@PYTHONPATH=tests $(BIN)/python -m soak $(SOAK)
lint: env docs  ## style, types, spelling, and the docs built strictly
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
docs: env  ## the docs as a site: site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
audit: env  ## known vulnerabilities of the locked packages, by pip-audit; warns only
	@$(BIN)/python deploy/audit.py
bench: env  ## every benchmark in turn, then the table of their results
	@status=0; for script in benchmarks/[!_]*.py; do \
		echo "== $$script"; rm -f "benchmarks/results/$$(basename $$script .py).json"; \
		$(BIN)/python "$$script" || status=1; \
	done; $(BIN)/python benchmarks/_harness.py; exit $$status
clean:  ## remove .venv, out, store and caches
	rm -rf .venv out store dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# PyTorch first, by its exact version: where the index offers a CPU build, plain pip takes it.
.venv/.torch: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "'$(PYTHON)' is not Python 3.11 or newer; say which is: make env PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(PIP) install --quiet -c constraints.txt torch torchvision
	@touch $@

.venv/.done: .venv/.torch pyproject.toml
	$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	@touch $@
