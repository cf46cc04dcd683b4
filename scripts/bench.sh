#!/usr/bin/env bash
# bench.sh - tokens/s of serial and paired plans, on one rank and on two.
set -euo pipefail

here=$(dirname "$0")
tlp=${BUILD:-build}/tlp
model=$("$here/fetch-model.sh")
pairs=3-4,7-8,12-13,14-15,17-18,20-21,23-24,26-27

for layout in '1 2' '2 1'; do
    read -r ranks threads <<<"$layout"
    "$tlp" bench -m "$model" --plan serial --plan "lp:$pairs" \
        --plan "par:$pairs" --plan "asym:$pairs" \
        --ranks "$ranks" --threads "$threads" "$@"
    echo
done
