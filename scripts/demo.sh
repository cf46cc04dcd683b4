#!/usr/bin/env bash
# demo.sh - two ranks over a slow link: every layer split over both ranks,
# against a plan that leaves out exchanges.  `tlp plan make` chooses it and `tlp
# plan adjust` fits it, both on text that the model writes itself.  The table
# has speed, exchanges and, on another text, the loss of quality.
set -euo pipefail

here=$(dirname "$0")
build=${BUILD:-build}
tlp=$build/tlp
model=$("$here/fetch-model.sh")
text=$here/../examples/data/alice.txt
work=$build/demo
bare=$work/bare.json
plan=$work/plan.json

delay_us=200     # one way; a common figure inside a data centre
plan_tokens=512  # of the model's own text, for the planner
fit_tokens=3072  # likewise, for the adjustments
exchanges=42     # that the planner leaves of 60
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

# kl PLAN: mean KL divergence from serial, on text that neither command saw.
kl() {
    "$tlp" eval -m "$model" --text "$text" --plan "$1" --against serial \
        --json | field kl_mean
}

row() {
    printf '%-10s%10.1f%8.2fx%18d%20.3f\n' "$@"
}

# plan_row NAME TOKENS_A_SECOND_OF_SERIAL TOKENS_A_SECOND PLAN
plan_row() {
    row "$1" "$3" "$(awk "BEGIN { print $3 / $2 }")" "$(exchanges "$4")" \
        "$(kl "$4")"
}

table() {
    local bench base
    bench=$("$tlp" bench -m "$model" --plan serial --plan "$bare" \
        --plan "$plan" \
        "${ranks[@]}" --link-delay-us "$delay_us" --prompt 32 --gen 64 \
        --repeat 3 --json)
    base=$(speed "$bench" 1)
    printf '%-10s%10s%9s%18s%20s\n' plan tokens/s speed-up \
        exchanges/token 'KL from serial'
    row serial "$base" 1 "$(exchanges serial)" 0
    plan_row planned "$base" "$(speed "$bench" 2)" "$bare"
    plan_row adjusted "$base" "$(speed "$bench" 3)" "$plan"
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
echo "planning on $plan_tokens tokens that the model writes (about a minute)"
"$tlp" plan make -m "$model" --self "$plan_tokens" --ctx 256 \
    --exchanges "$exchanges" -o "$bare" >/dev/null
echo "adjusting the plan on $fit_tokens such tokens (about a minute)"
"$tlp" plan adjust -m "$model" --plan "$bare" --self "$fit_tokens" --rank 32 \
    -o "$plan" >/dev/null
echo
"$tlp" plan show -m "$model" --plan "$plan" | sed -n '1,2p'
echo
table
echo
echo "> $question"
for p in serial "$plan"; do
    echo
    echo "--- $([ "$p" = serial ] && echo serial || echo adjusted)"
    answer "$p"
done
cat <<EOF

serial is the baseline: libtlp's own tensor parallelism, measured in this run.
tokens/s: decoding, median of 3 runs that alternate.  exchanges: all-reduces
and sends that a token waits for.  KL: mean over ${text##*/}, which neither
command saw, in nats; 0 means the plan computes what the serial model computes.
EOF
