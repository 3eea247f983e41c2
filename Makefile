# Everything a newcomer needs is `make demo` and `make test`; both build their own .venv here.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
JOBS ?= 2
KERNEL_TESTS := tests/env/test_kernels.py tests/env/test_core.py tests/env/test_maps.py \
	tests/replay/test_packing_hostile.py
# One thread per process: two change the bits of a training run and, on a busy machine, are slower.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-main test-bounds test-python check bench learn soak site wheel examples format clean

demo: $(VENV)/.demo
	$(BIN)/townlet demo --output runs/demo

# All tests; then the simulation once more with its array bounds checked, and without its compiler.
test: test-main
	$(MAKE) -j $(JOBS) test-bounds test-python

test-main: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(JOBS) --dist loadscope

# The larger capacity is the same code compiled again, for minutes: "crowd" is left to test-main.
test-bounds: $(VENV)/.dev
	NUMBA_BOUNDSCHECK=1 $(BIN)/python -m pytest $(KERNEL_TESTS) -k "not crowd"

test-python: $(VENV)/.dev
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest $(KERNEL_TESTS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks.run $(BENCH)

# Three seeds per arm on the flagship, with verdicts; exit code 1 if one is missed.
learn: $(VENV)/.dev
	$(BIN)/python -m benchmarks.learn $(LEARN)

# 1,000 recorders killed, 10,000 bits flipped: minutes. Exit 1 if one acknowledged episode is lost.
soak: $(VENV)/.dev
	$(BIN)/python tests/soak.py $(SOAK)

# The documents as a site, in site/; a warning is an error.
site: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

# A wheel from a source distribution, in an empty environment, away from the checkout's own modules.
wheel: $(VENV)/.dev
	rm -rf dist .venv-wheel
	$(BIN)/python -m build --no-isolation
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/python -m pip --disable-pip-version-check -q install -c constraints.txt \
		"$$(ls dist/townlet-*.whl)[all]"
	cd .venv-wheel && bin/townlet doctor && bin/townlet demo --quick --output demo

# Adapters to other libraries, each in an environment of its own: minutes to install. What those
# libraries pin differs from our constraints, of which only the lines they agree with are kept.
examples: .venv-ecosystem/.done .venv-rllib/.done
	.venv-ecosystem/bin/python -W ignore examples/torchrl_town.py
	.venv-ecosystem/bin/python -W ignore examples/tianshou_town.py
	.venv-rllib/bin/python -W ignore examples/rllib_town.py

.venv-ecosystem/.done: LIBRARIES := 'torchrl==0.14.1' 'tensordict<0.15' 'tianshou==2.0.1'
.venv-rllib/.done: LIBRARIES := 'ray[rllib]>=2.60,<2.61'

.venv-%/.done: pyproject.toml constraints.txt
	test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	grep -E '^(numpy|numba|pettingzoo|pydantic|deflate|torch)==' constraints.txt \
		> .venv-$*/constraints.txt
	.venv-$*/bin/python -m pip --disable-pip-version-check -q install \
		-c .venv-$*/constraints.txt -e . torch $(LIBRARIES)
	touch $@

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .venv-* dist runs site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The stamps are rebuilt when the dependencies change, not when the code does.
$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e '.[all]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e '.[dev]'
	touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(PIP) install -c constraints.txt -e '.[bench]'
	touch $@
