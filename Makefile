# make demo   set up, then encode and decode a bundled clip into demo/
# make test   set up, then run every test
# make setup  .venv with the package, its extras and its tests
#
# PYTHON=...    another interpreter (3.11 or newer)
# PIP_ARGS=...  for pip, as --index-url
# ARGS=...      for codec demo or pytest

PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet $(PIP_ARGS)

.PHONY: setup demo test lint clean

setup: $(VENV)/installed

demo: setup
	$(BIN)/codec demo $(ARGS)

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(ARGS)

lint: setup
	$(BIN)/ruff check .

clean:
	rm -rf $(VENV) demo

$(VENV)/created:
	@test -n "$(PYTHON)" || { echo "codec needs Python 3.11 or newer; set PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/created pyproject.toml requirements.txt requirements-judges.txt requirements-eval.txt
	$(PIP) -r requirements.txt
	@$(PIP) --no-deps -r requirements-judges.txt \
		|| echo "note: the judges in requirements-judges.txt are not to be had here; tests do without"
	$(PIP) --no-build-isolation --no-deps --editable .
	@if command -v cc >/dev/null && command -v c++ >/dev/null; then \
		$(PIP) -r requirements-eval.txt \
			|| echo "note: the judges in requirements-eval.txt could not be built; tests do without"; \
	else \
		echo "note: no C compiler, so PESQ, ViSQOL and Resemblyzer are left out; tests do without"; \
	fi
	@touch $@
