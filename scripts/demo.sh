#!/usr/bin/env bash
# demo.sh - the same model, serial and with eight pairs of layers side by side,
# on two ranks: what each says, how fast, and what the pairs cost in quality.
set -euo pipefail

here=$(dirname "$0")
tlp=${BUILD:-build}/tlp
model=$("$here/fetch-model.sh")
text=$here/../examples/data/alice.txt
plans=(serial 'par:3-4,7-8,12-13,14-15,17-18,20-21,23-24,26-27')
names=(serial layer-parallel)
question='Tell me in two sentences why the sky is blue.'

# field KEY: the number after "KEY": in the JSON on standard input.
field() {
    sed -n "s/.*\"$1\":\([-0-9.e+]*\).*/\1/p"
}

# answer PLAN: stream one answer on two ranks of one thread.
answer() {
    "$tlp" run -m "$model" -n 64 -p "$question" --plan "$1" \
        --ranks 2 --threads 1
}

# A row for each plan.  Speeds are medians of runs that alternate.
table() {
    local bench eval i
    bench=$("$tlp" bench -m "$model" --plan "${plans[0]}" --plan "${plans[1]}" \
        --ranks 2 --threads 1 --prompt 64 --gen 64 --repeat 5 --json)
    printf '%-16s%10s%19s%17s%12s\n' '' tokens/s all-reduces/token \
        'effective depth' perplexity
    for i in 0 1; do
        eval=$("$tlp" eval -m "$model" --text "$text" --plan "${plans[i]}" \
            --ranks 2 --threads 1 --json)
        printf '%-16s%10.1f%19d%17d%12.2f\n' "${names[i]}" \
            "$(decode_speed "$i" <<<"$bench")" \
            "$(field allreduces_per_token <<<"$eval")" \
            "$(field effective_depth <<<"$eval")" \
            "$(field ppl <<<"$eval")"
    done
}

# decode_speed I: the median of plan I in the JSON of tlp bench.
decode_speed() {
    grep -o '"decode":{"median":[-0-9.e+]*' | sed -n "$(($1 + 1))s/.*://p"
}

echo
echo "SmolLM2-135M-Instruct on two CPU ranks of one thread each"
echo "> $question"
for i in 0 1; do
    echo
    echo "--- ${names[i]} (${plans[i]})"
    answer "${plans[i]}"
done
echo
table
echo
echo "tokens/s: decoding, median of 5.  Perplexity: on ${text##*/}, less is better."
