#!/bin/sh
# check-rust.sh FOLDER LIBRARY - check format, lints, tests and documents of the
# Rust crates with this library; cargo's products go to FOLDER.
set -eu
cd "$(dirname "$0")/.."
if ! command -v cargo >/dev/null; then
    echo 'check-rust: skipped: no cargo'
    exit 0
fi
folder=$(realpath -m "$1")
TLP_LIB_DIR=$(dirname "$(realpath "$2")")
export TLP_LIB_DIR CARGO_TARGET_DIR="$folder"

scripts/make-rust-sys.sh --check
cd bindings/rust
if cargo fmt --version >/dev/null 2>&1; then
    cargo fmt --check
else
    echo 'check-rust: no rustfmt: the format was not checked'
fi
if cargo clippy --version >/dev/null 2>&1; then
    cargo clippy -q --offline --all-targets -- -D warnings
else
    echo 'check-rust: no clippy: no lints'
fi
mkdir -p "$folder"
if ! cargo test -q --offline --no-fail-fast >"$folder/tests.log" 2>&1; then
    cat "$folder/tests.log"
    exit 1
fi
RUSTDOCFLAGS='-D warnings' cargo doc -q --offline --no-deps
awk '/^test result: ok/ { passed += $4; failed += $6; ignored += $8 }
     END {
         printf "check-rust: %d tests passed, %d failed, %d ignored\n",
             passed, failed, ignored
         exit passed == 0
     }' "$folder/tests.log"
