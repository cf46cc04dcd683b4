#!/bin/sh
# check-python.sh FOLDER LIBRARY - install the Python package with this library
# into an environment in FOLDER, and test it there.
set -eu
cd "$(dirname "$0")/.."
folder=$1
library=$(realpath "$2")

python3 scripts/make-cdef.py --check
[ -x "$folder/bin/python" ] || python3 -m venv "$folder"
# in-tree builds leave folders behind: build from a copy
rm -rf "$folder/source"
mkdir -p "$folder/source"
cp -r bindings/python/. "$folder/source"
TLP_BUNDLE=$library "$folder/bin/python" -m pip -q install \
    --disable-pip-version-check --force-reinstall --no-deps "$folder/source"
"$folder/bin/python" -m pip -q install --disable-pip-version-check \
    'cffi>=1.15' 'numpy<2.5' matplotlib pytest gguf lm_eval==0.4.13 mypy==2.4.1 \
    types-cffi==2.1.0.20260827 types-tqdm==4.70.0.20261106
package=$PWD/bindings/python
cd "$folder" # so that Python sees the package that was installed
bin/python -m mypy --config-file "$package/pyproject.toml" --no-incremental \
    -p libtlp
bin/python -X dev -m pytest -q -p no:cacheprovider "$package/tests"
