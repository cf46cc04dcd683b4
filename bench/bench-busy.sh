#!/usr/bin/env bash
# bench-busy.sh - tokens/s while the host keeps cores busy.
#
# Appends to busy.csv in RESULTS (BUILD/bench).  Options go to bench_busy, after
# the model: rounds, threads, busy threads.
set -euo pipefail

here=$(dirname "$0")
build=${BUILD:-build}
model=$("$here/../scripts/fetch-model.sh")

"$build/test/bench/bench_busy" "$model" "$@" |
    PYTHONPATH=$here "${PYTHON:-python3}" -c '
import sys
import bench_record as r

rows = []
for line in sys.stdin:
    phase, busy, threads, *values = line.split()
    rows.append((r.case_of(busy=busy, threads=threads, phase=phase),
                 *map(float, values), "tokens/s"))
    print(line, end="")
r.append(sys.argv[1], "busy", rows)
' "${RESULTS:-$build/bench}/busy.csv"
