# Everything a newcomer needs is `make demo` and `make test`; both build their own .venv here.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
JOBS ?= 2
# One thread per process: two change the bits of a training run and, on a busy machine, are slower.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test check bench format clean

demo: $(VENV)/.demo
	$(BIN)/townlet demo --output runs/demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(JOBS) --dist loadscope

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.run

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) runs .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The stamps are rebuilt when the dependencies change, not when the code does.
$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e '.[all]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e '.[dev]'
	touch $@
