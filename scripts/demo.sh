#!/usr/bin/env bash
# demo.sh - two ranks over a slow link: every layer split over both ranks,
# against a plan that `tlp plan make` chooses on the first part of a text.  The
# table has speed, exchanges and, on the rest of that text, the loss of quality.
set -euo pipefail

here=$(dirname "$0")
build=${BUILD:-build}
tlp=$build/tlp
model=$("$here/fetch-model.sh")
text=$here/../examples/data/alice.txt
work=$build/demo
plan=$work/plan.json

delay_us=200     # one way; a common figure inside a data centre
plan_tokens=512  # of the text, for the planner; the rest judges the plan
depth=24         # stages that the planner leaves of 30 layers
question='Give me three tips for staying healthy.'
ranks=(--ranks 2 --threads 1)

# field KEY: the first number after "KEY": in the JSON on standard input.
field() {
    grep -o "\"$1\":[-0-9.e+]*" | sed -n '1s/.*://p'
}

# speed JSON I: the median tokens/s that plan I of tlp bench decoded.
speed() {
    grep -o '"decode":{"median":[-0-9.e+]*' <<<"$1" | sed -n "$2s/.*://p"
}

# exchanges PLAN: all-reduces and messages that a token waits for.
exchanges() {
    "$tlp" info -m "$model" --plan "$1" --ranks 2 --json |
        field exchanges_per_token
}

# kl PLAN: mean KL divergence from serial, on text that the planner did not see.
kl() {
    "$tlp" eval -m "$model" --text "$text" --from "$plan_tokens" \
        --plan "$1" --against serial "${ranks[@]}" --json | field kl_mean
}

row() {
    printf '%-10s%10.1f%8.2fx%18d%20.3f\n' "$@"
}

table() {
    local bench base fast
    bench=$("$tlp" bench -m "$model" --plan serial --plan "$plan" \
        "${ranks[@]}" --link-delay-us "$delay_us" --prompt 32 --gen 64 \
        --repeat 3 --json)
    base=$(speed "$bench" 1)
    fast=$(speed "$bench" 2)
    printf '%-10s%10s%9s%18s%20s\n' plan tokens/s speed-up \
        exchanges/token 'KL from serial'
    row serial "$base" 1 "$(exchanges serial)" 0
    row planned "$fast" "$(awk "BEGIN { print $fast / $base }")" \
        "$(exchanges "$plan")" "$(kl "$plan")"
}

# answer PLAN: the first tokens of an answer, as they come.
answer() {
    "$tlp" run -m "$model" -n 40 -p "$question" --plan "$1" "${ranks[@]}" \
        --link-delay-us "$delay_us" 2>/dev/null
    echo
}

mkdir -p "$work"
echo
echo "SmolLM2-135M-Instruct, two CPU ranks of one thread,"
echo "$delay_us us one way between them"
echo
echo "planning on $plan_tokens tokens of ${text##*/} (about a minute)"
"$tlp" plan make -m "$model" --text "$text" --max-tokens "$plan_tokens" \
    --depth "$depth" --modes par,asym --max-group 2 -o "$plan" >/dev/null
"$tlp" plan show -m "$model" --plan "$plan" | sed -n '1,2p'
echo
table
echo
echo "> $question"
for p in serial "$plan"; do
    echo
    echo "--- $([ "$p" = serial ] && echo serial || echo planned)"
    answer "$p"
done
cat <<EOF

serial is the baseline: libtlp's own tensor parallelism, measured in this run.
tokens/s: decoding, median of 3 runs that alternate.  exchanges: all-reduces
and sends that a token waits for.  KL: mean over the text that the planner did
not see, in nats; 0 means the plan computes what the serial model computes.
EOF
