#!/usr/bin/env bash
# run-tests.sh PROGRAM... - run Criterion programs, JOBS at a time (one for each
# core unless it is given); those that ALONE lists run one after the other.
#
# Shows failures, skips with their reasons and each program's closing line,
# then a summary, with the failures once more.  Fails if any program does, or if
# a sanitizer reports anything: Criterion lets a test pass that leaks.
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

# 238 MB under terms of their own: only if the file is there, or if
# FETCH_GEMMA3=1 asks for it.
gemma3=${XDG_CACHE_HOME:-$HOME/.cache}/libtlp/gemma-3-270m-Q4_K_M.gguf
if [ -n "${WITHOUT_MODEL-}" ]; then
    unset TLP_TEST_GEMMA3
elif [ -n "${FETCH_GEMMA3-}" ] || [ -f "${TLP_TEST_GEMMA3-$gemma3}" ]; then
    if gemma3=$("$here/fetch-model.sh" gemma3); then
        export TLP_TEST_GEMMA3=$gemma3
    fi
fi

jobs=${JOBS:-$(nproc 2>/dev/null || echo 1)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Programs in the background ignore an interrupt from the keyboard.
end_programs() {
    local job
    for job in $(jobs -p); do
        # shellcheck disable=SC2046 # a list of numbers
        kill $(cat "/proc/$job/task/$job/children") 2>/dev/null
    done
    exit 130
}
trap end_programs INT TERM

# What a program said and how it ended, in one piece.
run() {
    local name=${1##*/} log=$work/${1##*/}.log status why=

    "$1" --verbose=1 >"$log" 2>&1 </dev/null
    status=$?
    if [ $status -ne 0 ]; then
        echo "$name" >>"$work/failed"
    elif ! grep -aq '^\[====\] Synthesis' "$log"; then
        echo "$name" >>"$work/failed"
        why="$name ended without a closing line"
    elif grep -aq '^SUMMARY: [A-Za-z]*Sanitizer' "$log"; then
        echo "$name" >>"$work/failed"
        why="a sanitizer reported a fault of $name"
    fi
    {
        flock 9
        {
            echo "== $name"
            grep -av -e '^\[RUN \]' -e '^\[PASS\]' \
                -e '^\[----\] Criterion v' -e '^\[====\] Running ' "$log"
            [ -z "$why" ] || echo "$why"
        } | tee "$work/said"
        grep -ac '^\[SKIP\]' "$log" >>"$work/skipped"
        [ $status -eq 0 ] && [ -z "$why" ] ||
            cat "$work/said" >>"$work/failures"
    } 9>"$work/lock"
}

alone=" ${ALONE-} "
: >"$work/failed"
: >"$work/failures"
: >"$work/skipped"
for program in "$@"; do
    [[ $alone == *" $program "* ]] && continue
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do
        wait -n
    done
    run "$program" &
done
wait
for program in "$@"; do
    [[ $alone == *" $program "* ]] && run "$program"
done

echo
[ -n "${TLP_TEST_MODEL-}" ] || echo 'The real model was NOT tested.'
if [ -s "$work/failed" ]; then
    cat "$work/failures"
    echo "FAILED: $(tr '\n' ' ' <"$work/failed")(of $# programs)"
    exit 1
fi
skipped=$(awk '{ n += $1 } END { print n + 0 }' "$work/skipped")
echo "All $# test programs passed; $skipped tests were skipped."
