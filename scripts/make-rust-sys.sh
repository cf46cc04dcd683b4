#!/bin/sh
# make-rust-sys.sh [--check] - write the declarations of the public headers for
# Rust, with bindgen 0.60 (Debian: bindgen), or compare them with the file.
#
# The file is bindings/rust/tlp-sys/src/bindings.rs.  Another version of bindgen
# writes other text, so the comparison is skipped there.
set -eu
cd "$(dirname "$0")/.."
out=bindings/rust/tlp-sys/src/bindings.rs
headers='tlp.h tlp_tune.h tlp_eval.h'

check=
case "${1-}" in
--check) check=1 ;;
'') ;;
*)
    echo 'usage: make-rust-sys.sh [--check]' >&2
    exit 2
    ;;
esac

missing() {
    if [ "$check" ]; then
        echo "make-rust-sys: skipped: no $1"
        exit 0
    fi
    echo "make-rust-sys: no $1" >&2
    exit 1
}
case "$(bindgen --version 2>/dev/null)" in
'bindgen 0.60.'*) ;;
*) missing 'bindgen 0.60 (Debian: bindgen)' ;;
esac
command -v rustfmt >/dev/null || missing rustfmt

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for header in $headers; do
    echo "#include <$header>"
done >"$folder/all.h"

# C has no size_t in Rust's sense; on all systems that libtlp runs on it is
# usize.  `struct_size` and the like are plain fields, so that Default is zeros.
bindgen "$folder/all.h" --output "$folder/raw.rs" --no-rustfmt-bindings \
    --disable-header-comment --allowlist-function 'tlp_.*' \
    --allowlist-type 'tlp_.*' --allowlist-var 'TLP_.*' \
    --blocklist-type '__u?int.*_t' --no-prepend-enum-name \
    --with-derive-default --size_t-is-usize --rust-target 1.47 \
    --enable-function-attribute-detection -- -Iinclude
rustfmt --edition 2021 "$folder/raw.rs"

# Attributes with documents become comments.
{
    echo '// Made by scripts/make-rust-sys.sh from include/.'
    sed -e '/^ *#\[doc = ".*"\]$/{
        s/^\( *\)#\[doc = "< */\1\/\/\/ /
        s/^\( *\)#\[doc = "/\1\/\/\//
        s/"\]$//
        s/^\( *\)\/\/\/\([^ ]\)/\1\/\/\/ \2/
        s/\\\(["\\]\)/\1/g
        s/ *$//
    }' "$folder/raw.rs"
} >"$folder/bindings.rs"

if [ -z "$check" ]; then
    cp "$folder/bindings.rs" "$out"
elif ! cmp -s "$folder/bindings.rs" "$out"; then
    echo "make-rust-sys: $out differs from the headers:" \
        'run scripts/make-rust-sys.sh' >&2
    exit 1
fi
