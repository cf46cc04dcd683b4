#!/usr/bin/env bash
# bench.sh - tokens/s of serial and paired plans, on one rank and on two.
#
# Appends to plans.csv in RESULTS (BUILD/bench).  Options go to tlp bench.
set -euo pipefail

here=$(dirname "$0")
build=${BUILD:-build}
model=$("$here/../scripts/fetch-model.sh")
pairs=3-4,7-8,12-13,14-15,17-18,20-21,23-24,26-27

for layout in '1 2' '2 1'; do
    read -r ranks threads <<<"$layout"
    "$build/tlp" bench -m "$model" --plan serial --plan "lp:$pairs" \
        --plan "par:$pairs" --plan "asym:$pairs" --json \
        --ranks "$ranks" --threads "$threads" "$@" |
        "${PYTHON:-python3}" "$here/bench_record.py" \
            "${RESULTS:-$build/bench}/plans.csv" plans "ranks=$ranks"
done
