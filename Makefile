# make demo   set up what the demo needs, then encode and decode a bundled clip into demo/
# make test   set up everything, then run every test
# make setup  .venv with the package, all extras and the tests
# make docs   build the site of the documentation into site/; a warning is an error
# make check-packages   use the wheel and the sdist on Python 3.11, 3.12 and 3.13 (scripts/check_packages.sh)
# make test-lowest      run tests with the lowest versions that pyproject.toml allows (scripts/test_lowest.sh)
#
# PYTHON=...    another interpreter (3.11 or newer)
# PIP_ARGS=...  for pip, as --index-url
# ARGS=...      for codec demo or pytest
# PYTHONS=...   for check-packages

PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet $(PIP_ARGS)

# The usual PyTorch for Linux brings gigabytes of CUDA along. Where there is no NVIDIA driver, its index of CPU
# builds is offered to pip too, which prefers 2.13.0+cpu to 2.13.0; without that index, as offline, pip does not
# wait for it.
CPU_INDEX := https://download.pytorch.org/whl/cpu
CPU_ARGS = $(shell [ "$$(uname)" = Linux ] && ! command -v nvidia-smi >/dev/null 2>&1 \
	&& $(BIN)/python -c 'import urllib.request; urllib.request.urlopen("$(CPU_INDEX)/torch/", timeout=5)' 2>/dev/null \
	&& echo --extra-index-url $(CPU_INDEX))

.PHONY: setup demo test lint docs check-packages test-lowest clean

setup: $(VENV)/tested

demo: $(VENV)/installed
	$(BIN)/codec demo $(ARGS)

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

docs: $(VENV)/documented
	NO_MKDOCS_2_WARNING=1 OMP_NUM_THREADS=1 $(BIN)/python -m mkdocs build --quiet --strict

check-packages:
	PIP_ARGS="$(PIP_ARGS)" scripts/check_packages.sh $(PYTHONS)

test-lowest:
	scripts/test_lowest.sh $(ARGS)

clean:
	rm -rf $(VENV) demo site

$(VENV)/created:
	@test -n "$(PYTHON)" || { echo "codec needs Python 3.11 or newer; set PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/created pyproject.toml requirements.txt
	$(PIP) $(CPU_ARGS) -r requirements.txt
	$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/documented: $(VENV)/tested requirements-docs.txt
	$(PIP) -r requirements-docs.txt
	@touch $@

$(VENV)/tested: $(VENV)/installed requirements-serve.txt requirements-test.txt requirements-metrics.txt requirements-eval.txt
	$(PIP) -r requirements-test.txt
	@$(PIP) --no-deps -r requirements-metrics.txt \
		|| echo "note: the metrics in requirements-metrics.txt could not be installed; tests run without them"
	@if command -v cc >/dev/null && command -v c++ >/dev/null; then \
		$(PIP) -r requirements-eval.txt \
			|| echo "note: the metrics in requirements-eval.txt could not be built; tests do without"; \
	else \
		echo "note: no C compiler, so PESQ, ViSQOL and Resemblyzer are skipped; tests run without them"; \
	fi
	@touch $@
