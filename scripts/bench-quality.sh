#!/usr/bin/env bash
# bench-quality.sh MODEL TOKENS.i32 - perplexity of some plans on 1 and 2 ranks.
#
# Prints a Markdown table: exact activations, then the default compute.
set -euo pipefail

tlp=${TLP:-build/tlp}
model=$1 tokens=$2
eight=3-4,7-8,12-13,14-15,17-18,20-21,23-24,26-27
four=12-13,14-15,16-17,18-19
plans=(serial "par:$four" "lp:$four" "par:$eight" "asym:$eight" "lp:$eight"
    "lp-code:12-13,14-15" "par:20-22,24-26" "drop:12,20" merge:20-21)

ppl() {
    "$tlp" eval -m "$model" --tokens "$tokens" --json "$@" |
        python3 -c 'import json, sys; print("%.3f" % json.load(sys.stdin)["ppl"])'
}

echo '| plan | f32 | default, 1 rank | default, 2 ranks |'
echo '|---|---|---|---|'
for plan in "${plans[@]}"; do
    echo "| \`$plan\` | $(ppl --plan "$plan" --compute f32)" \
        "| $(ppl --plan "$plan") | $(ppl --plan "$plan" --ranks 2) |"
done
