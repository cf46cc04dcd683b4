#!/usr/bin/env bash
# run-tests.sh PROGRAM... - run the Criterion programs, one after the other.
#
# Shows failures, skips with their reasons and each program's closing line,
# then a summary, with the failures once more.  Fails if any program does.
set -uo pipefail

here=$(dirname "$0")

# WITHOUT_MODEL=1: TSan takes an hour over the real model, and the small ones
# have the same threads.
if [ -n "${WITHOUT_MODEL-}" ]; then
    unset TLP_TEST_MODEL
elif model=$("$here/fetch-model.sh"); then
    export TLP_TEST_MODEL=$model
else
    unset TLP_TEST_MODEL
    cat >&2 <<'END'
***************************************************************************
** The model could not be fetched: tests that need it will be SKIPPED.   **
** Set TLP_TEST_MODEL to SmolLM2-135M-Instruct.Q4_1.gguf to run them.    **
***************************************************************************
END
fi

log=$(mktemp)
failures=$(mktemp)
trap 'rm -f "$log" "$failures"' EXIT
failed=()
skipped=0

for program in "$@"; do
    echo "== ${program##*/}"
    "$program" --verbose=1 >"$log" 2>&1
    status=$?
    grep -av -e '^\[RUN \]' -e '^\[PASS\]' -e '^\[----\] Criterion v' \
        -e '^\[====\] Running ' "$log"
    skipped=$((skipped + $(grep -ac '^\[SKIP\]' "$log")))
    if [ $status -ne 0 ]; then
        failed+=("${program##*/}")
    elif ! grep -aq '^\[====\] Synthesis' "$log"; then
        echo "${program##*/} ended without a closing line"
        failed+=("${program##*/}")
    fi
    grep -a -A3 -e '^\[FAIL\]' -e '^\[CRASH\]' -e '^\[ERR' "$log" >>"$failures"
done

echo
[ -n "${TLP_TEST_MODEL-}" ] || echo 'The real model was NOT tested.'
if [ ${#failed[@]} -gt 0 ]; then
    cat "$failures"
    echo "FAILED: ${failed[*]} (of $# programs)"
    exit 1
fi
echo "All $# test programs passed; $skipped tests were skipped."
