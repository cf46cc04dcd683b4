#!/usr/bin/env bash
# bench-quality.sh MODEL TOKENS.i32 - perplexity of some plans on 1 and 2 ranks.
#
# Prints a Markdown table: exact activations, then the default compute.  Appends
# the figures to quality.csv in RESULTS (BUILD/bench).
set -euo pipefail

here=$(dirname "$0")
build=${BUILD:-build}
tlp=${TLP:-$build/tlp}
model=$1 tokens=$2
results=${RESULTS:-$build/bench}/quality.csv
eight=3-4,7-8,12-13,14-15,17-18,20-21,23-24,26-27
four=12-13,14-15,16-17,18-19
plans=(serial "par:$four" "lp:$four" "par:$eight" "asym:$eight" "lp:$eight"
    "lp-code:12-13,14-15" "par:20-22,24-26" "drop:12,20" merge:20-21)

# ppl COMPUTE PLAN OPTION...: print the perplexity, and record it.
ppl() {
    local compute=$1 plan=$2
    shift 2
    "$tlp" eval -m "$model" --tokens "$tokens" --json --plan "$plan" "$@" |
        PYTHONPATH=$here "${PYTHON:-python3}" -c '
import json, sys, bench_record
path, compute, plan = sys.argv[1:]
r = json.load(sys.stdin)
case = bench_record.case_of(plan=plan, compute=compute, tokens=r["tokens"])
bench_record.append(path, "oracle", [(case, r["ppl"], None, None,
                                      "perplexity")])
print("%.3f" % r["ppl"])' "$results" "$compute" "$plan"
}

echo '| plan | f32 | default, 1 rank | default, 2 ranks |'
echo '|---|---|---|---|'
for plan in "${plans[@]}"; do
    echo "| \`$plan\` | $(ppl f32 "$plan" --compute f32)" \
        "| $(ppl 'default, 1 rank' "$plan")" \
        "| $(ppl 'default, 2 ranks' "$plan" --ranks 2) |"
done
