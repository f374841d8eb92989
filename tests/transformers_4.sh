#!/bin/sh
# Run the tests of codec.hf on the last transformers of version 4, installed into a folder of its own.
# Slow, and it needs a package index: not part of the suite. The datasets of this environment needs a newer hub library.
set -e
python=${PYTHON:-python}
site=${1:-$(mktemp -d)}
root=$(cd "$(dirname "$0")/.." && pwd)
[ -d "$site/transformers" ] || "$python" -m pip install --quiet --no-deps --target "$site" \
    "transformers==4.57.6" "huggingface_hub==0.36.0" "tokenizers==0.22.1"
cd "$root"
PYTHONPATH="$site:$root" OMP_NUM_THREADS=1 "$python" -m pytest -q -p no:cacheprovider tests/test_hf.py \
    tests/test_hf_snippets.py -k 'not datasets'
