# Two commands do everything: `make demo` and `make test`. Each sets up what it needs, once.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo demo-texts demo-tables demo-ratings test test-real lint docs clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(READY)

demo: setup
	$(BIN)/python tools/demo.py photos

demo-texts: setup
	$(BIN)/python tools/demo.py texts

demo-tables: setup
	$(BIN)/python tools/demo.py tables

demo-ratings: setup
	$(BIN)/python tools/demo.py ratings

test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST)

test-real: setup
	TLKIT_TEST_CACHE="$${TLKIT_CACHE:-$$HOME/.cache/tlkit}" $(BIN)/python -m pytest -m "real or slow" -rs

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy

docs: setup
	$(BIN)/python tools/docs_reference.py
	$(BIN)/zensical build --strict --clean

clean:
	rm -rf site docs/reference $(VENV) demo .pytest_cache .mypy_cache .ruff_cache
