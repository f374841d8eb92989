#!/bin/sh
# Run tests with the lowest versions that the bounds in pyproject.toml admit, in a new environment of Python 3.11.
#
#   scripts/test_lowest.sh [TESTS...]    default: the core, the command line, and the import of every module
#
# Needs uv. VENV=... keeps the environment for the next run. PyPI's PyTorch for Linux takes 7 GB on the disk.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
venv=${VENV:-$(mktemp -d)/venv}
[ $# -gt 0 ] || set -- tests/test_golden.py tests/test_api.py tests/test_tokens.py tests/test_quantizer.py \
    tests/test_cli.py tests/test_cli_inputs.py
# All but lm and onnx, which need a newer PyTorch than the rest.
extras="bench corpora demo embed eval hf llm music ray serve train"
if [ ! -d "$venv" ]; then
    uv venv --quiet --python 3.11 "$venv"
    # The tests' own tools are as the suite pins them; only what the package asks for is as low as it can be.
    uv pip compile --quiet --no-annotate --python-version 3.11 --resolution lowest-direct \
        $(printf -- '--extra %s ' $extras) \
        --output-file "$venv/lowest.txt" pyproject.toml
    uv pip install --quiet --python "$venv" -r "$venv/lowest.txt" pytest pytest-timeout hypothesis
fi
uv pip list --quiet --python "$venv" | grep -iE '^(torch|numpy|transformers|onnx|ray|pyarrow|typer) '
# Every module has to load, whatever the tests reach.
PYTHONPATH=$root "$venv/bin/python" scripts/import_all.py codec.export
PYTHONPATH=$root OMP_NUM_THREADS=1 "$venv/bin/python" -m pytest -q -p no:cacheprovider "$@"
