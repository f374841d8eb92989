#!/bin/sh
# Run the tests of every extra with the lowest versions that the bounds in pyproject.toml admit, in a new environment
# of Python 3.11.
#
#   scripts/test_lowest.sh                      all stages
#   scripts/test_lowest.sh STAGE [TESTS...]     one of them: base, lm or onnx, with its own tests or others
#
# lm and onnx need a newer PyTorch than the rest, so the environment changes from stage to stage.
# Needs uv. VENV=... keeps the environment for the next run. PyPI's PyTorch for Linux takes 7 GB on the disk.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
venv=${VENV:-$(mktemp -d)/venv}
[ -d "$venv" ] || uv venv --quiet --python 3.11 "$venv"

core="tests/test_golden.py tests/test_api.py tests/test_tokens.py tests/test_quantizer_kinds.py tests/test_streaming.py
    tests/test_cli.py tests/test_cli_inputs.py tests/test_cli_stream.py tests/test_engines.py"
train="tests/test_trainer*.py tests/test_resume.py tests/test_finetune.py tests/test_distill.py tests/test_features.py
    tests/test_merge.py tests/test_recipe.py"
eval="tests/test_eval_*.py tests/test_probes_*.py tests/test_music_probes.py"
hf="tests/test_hf*.py tests/test_hub.py tests/test_importing_*.py tests/test_layouts*.py"
serve="tests/test_serve*.py"
corpora="tests/test_corpora.py tests/test_corpora_*.py tests/test_encoders.py"

# stage NAME "EXTRAS" TESTS...
stage() {
    name=$1 extras=$2
    shift 2
    # The tests' own tools are as the suite pins them, except onnx, whose newest graphs an old ONNX Runtime cannot read.
    tools='pytest|pytest-timeout|hypothesis|playwright'
    { grep -E "^($tools)==" requirements-test.txt && echo 'onnx>=1.17'; } > "$venv/tools.txt"
    # Of a file that is there, versions would be kept.
    rm -f "$venv/$name.txt"
    uv pip compile --quiet --no-annotate --python-version 3.11 --resolution lowest-direct \
        $(printf -- '--extra %s ' $extras) --output-file "$venv/$name.txt" pyproject.toml "$venv/tools.txt"
    echo "== $name: $extras"
    "$venv/bin/python" scripts/check_bounds.py "$venv/$name.txt" $extras
    uv pip sync --quiet --python "$venv" "$venv/$name.txt"
    uv pip install --quiet --python "$venv" --no-deps --editable .
    uv pip list --quiet --python "$venv" | grep -iE '^(torch|numpy|transformers|onnx|onnxruntime|ray|websockets) '
    OMP_NUM_THREADS=1 "$venv/bin/python" -m pytest -q -p no:cacheprovider "$@"
}

chosen=${1:-"base lm onnx"}
[ $# -eq 0 ] || shift
for name in $chosen; do
    case $name in
    base)
        stage base "bench corpora demo embed eval hf llm music ray serve train" \
            ${*:-$core $train $eval $hf $serve $corpora}
        # Every module has to load, whatever the tests reach.
        "$venv/bin/python" scripts/import_all.py codec.export
        ;;
    lm) stage lm "lm corpora" ${*:-tests/test_lm*.py tests/test_layouts*.py} ;;
    onnx) stage onnx "onnx" ${*:-tests/test_export.py tests/test_engines.py tests/test_streaming.py} ;;
    *) echo "no stage $name; choose base, lm or onnx" >&2 && exit 2 ;;
    esac
done
