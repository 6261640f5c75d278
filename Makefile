# Two commands for users: `make report` and `make test`. Everything they need they set up themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ok

.PHONY: setup report test check browser slow faults clean

setup: $(STAMP)

# The stamp depends on pyproject.toml, so a second run costs nothing and a changed dependency reinstalls.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --progress-bar off -c constraints.txt -e '.[all]'
	$(BIN)/python -m pip check
	touch $(STAMP)

report: setup
	$(BIN)/pintpot assets pull movie-sentiment minilm
	$(BIN)/pintpot report compare-methods -p profile=standard

# Two workers with one torch thread each: two kernels with default threads would fight for the same cores.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

browser: setup
	$(BIN)/python -m pytest -m browser $(PYTEST_ARGS)

slow: setup
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

# The long run behind docs/reliability.md; its small version is part of `make test`.
faults: setup
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/reliability.py $(FAULTS)

clean:
	rm -rf $(VENV) build *.egg-info
