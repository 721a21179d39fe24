PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CORES ?= $(shell $(PYTHON) -c "import os; print(os.cpu_count() or 1)")
# A process more than there are cores: tests that kill runs and start Ray or programs mostly wait.
unexport PYTHONDONTWRITEBYTECODE  # or every process of the tests compiles every file anew
TESTS := $(BIN)/pytest -q -n $$(($(CORES) + 1)) --dist loadfile --no-loadscope-reorder

.PHONY: setup quickstart test check bench fuzz clean

setup: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e ".[test]"
	$(BIN)/pip install -q -c constraints.txt --no-deps byzfl  # an oracle; what it asks for is not needed
	@touch $@

quickstart: setup
	$(BIN)/gauntlet run quickstart

test: setup
	$(TESTS) -m "not slow"

check: setup
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(TESTS)

bench: setup
	$(BIN)/python benchmarks/rounds.py
	$(BIN)/python benchmarks/algorithms.py
	$(BIN)/python benchmarks/whole_runs.py
	$(BIN)/python benchmarks/aggregators.py
	$(BIN)/python benchmarks/codecs.py
	$(BIN)/python benchmarks/leakage_engine.py
	$(BIN)/python benchmarks/adapters_speed.py

fuzz: setup
	nice -n 19 $(BIN)/python benchmarks/fuzz.py
	CODEC_CASES=10000 nice -n 19 $(BIN)/pytest -q tests/clients/codecs/test_drawn.py

clean:
	rm -rf $(VENV) build dist *.egg-info
