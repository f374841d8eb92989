#!/bin/sh
# Build the sdist and the wheel from it, and use both in new environments that have nothing else, of each Python.
#
#   scripts/check_packages.sh [PYTHON...]    default: python3.11 python3.12 python3.13, those that are installed
#
# PIP_ARGS=...    for pip, as --index-url. PyPI's PyTorch for Linux takes 6 GB on the disk, one Python at a time.
# Every Python has to give the same tokens of the bundled clip. A Python that is missing is named and passed over.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ $# -gt 0 ] || set -- python3.11 python3.12 python3.13
unset PYTHONPATH

python3 -m venv "$work/build"
"$work/build/bin/python" -m pip install --quiet ${PIP_ARGS:-} build hatchling
"$work/build/bin/python" -m build --no-isolation --outdir "$work/dist" "$root" > "$work/build.log" \
    || { cat "$work/build.log"; exit 1; }
wheel=$(ls "$work"/dist/codec-*.whl)
sdist=$(ls "$work"/dist/codec-*.tar.gz)
for file in "$wheel" "$sdist"; do
    echo "$(basename "$file"): $(wc -c < "$file") bytes"
    [ "$(wc -c < "$file")" -le 40000000 ] || { echo "error: $(basename "$file") is over 40 MB"; exit 1; }
done

cd "$work"
cp "$root/codec/assets/speech.flac" in.flac
passed=0
for python in "$@"; do
    command -v "$python" > /dev/null && "$python" -c '' 2> /dev/null || { echo "$python: not installed, not checked"; continue; }
    "$python" -m venv env
    env/bin/python -m pip install --quiet ${PIP_ARGS:-} "$wheel"
    env/bin/python -m pip check
    for package in "$wheel" "$sdist"; do
        env/bin/python -m pip install --quiet ${PIP_ARGS:-} --force-reinstall --no-deps "$package"
        rm -f tokens.rvq out.wav
        env/bin/codec encode in.flac tokens.rvq
        env/bin/codec decode tokens.rvq out.wav
        if [ $passed = 0 ]; then cp tokens.rvq first.rvq; fi
        cmp tokens.rvq first.rvq || exit 1
        env/bin/codec info tokens.rvq > /dev/null
        echo "$python, $(basename "$package"): $(cksum < tokens.rvq)"
        passed=$((passed + 1))
    done
    rm -rf env
done
[ $passed -gt 0 ] || { echo "error: none of $*"; exit 1; }
echo "$passed packages used, the same tokens from all"
