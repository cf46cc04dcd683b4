#!/usr/bin/env bash
# run-fuzzers.sh PROGRAM... - run each libFuzzer program for FUZZ_SECONDS.
#
# test/fuzz/fuzz_NAME.c starts from the kept inputs in test/fuzz/corpus/NAME;
# new inputs go to a folder beside the program, crashes too, and are printed.
set -euo pipefail

for program in "$@"; do
    name=${program##*/fuzz_}
    kept=test/fuzz/corpus/$name
    found=$(dirname "$program")/found/$name
    mkdir -p "$found"
    echo "== fuzz_$name, ${FUZZ_SECONDS:-60} s"
    [ -d "$kept" ] || kept=
    "$program" -max_total_time="${FUZZ_SECONDS:-60}" -rss_limit_mb=2048 \
        -timeout=10 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="$found/" "$found" ${kept:+"$kept"} 2>&1 |
        grep -av -e '^"' -e '^###### ' # its suggestions for a dictionary
done
