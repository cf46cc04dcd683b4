#!/usr/bin/env bash
# bench-hosts.sh - tokens/s of plans on two hosts, over links of known delay.
#
# The hosts are network namespaces of this machine; they run RANKS ranks of one
# thread, in turn.  Links: a veth pair, and one that delays each packet by DELAYS
# us.  RANKS ranks in one process come first, for comparison.  The predictions of
# the cost model, from times measured on the link, go beside the figures.
# Appends to hosts.csv in RESULTS (BUILD/bench-hosts) and, with matplotlib, draws
# hosts.svg in BUILD/bench-hosts.  Without root or MPI the script says so and
# ends.
#
# In the environment: MODEL, PROMPT, GEN, REPEAT, DELAYS, RANKS (2), WIRE,
# RESULTS; PLANS, instead of the plans below (serial is always one); PYTHON, one
# that has matplotlib.
set -euo pipefail

here=$(dirname "$0")
build=${BUILD:-build}
hosts=$build/test/hosts/hosts.sh
out=$build/bench-hosts
delays=${DELAYS:-0 50 200 1000}
ranks=${RANKS:-2}
wire=${WIRE:-f32}
python=${PYTHON:-python3}

eight=3-4,7-8,12-13,14-15,17-18,20-21,23-24,26-27
four=7-8,14-15,20-21,26-27

pairs=
for mode in lp asym par; do
    pairs+=" $mode:$four $mode:$eight"
done

options=(--threads 1 --prompt "${PROMPT:-256}" --gen "${GEN:-64}"
    --repeat "${REPEAT:-5}" --json --measure-link --plan serial)
for plan in ${PLANS-$pairs}; do
    options+=(--plan "$plan")
done

# One-way time in us of a message like that of a decode's all-reduce.
one_way() {
    "$build/test/hosts/probe" rtt spin 2320 500 "$HOSTS_A" "$HOSTS_B" \
        "$1" | sed -n 's/.*median \([0-9.]*\).*/\1/p'
}

# result LINK DELAY ONE_WAY WIRE: a JSON file with what tlp bench prints.
result() {
    local bench
    bench=$(cat)
    printf '{"link":"%s","delay_us":%s,"one_way_us":%s,"wire":"%s","bench":%s}\n' \
        "$1" "$2" "$3" "$4" "$bench" >"$out/$1-$2.json"
}

# Within the hosts.
measure() {
    local address=${HOSTS_TUN_B-$HOSTS_VETH_B}
    local time
    time=$(one_way "$address")
    "$hosts" mpirun -np "$ranks" "$build/tlp" bench -m "$MODEL" --comm mpi \
        --wire "$wire" "${options[@]}" | result "$1" "$2" "$time" "$wire"
}

if [ "${1-}" = measure ]; then
    measure "$2" "$3"
    exit
fi

if ! command -v mpirun >/dev/null || [ ! -e "$build/libtlp_mpi.so" ]; then
    echo 'bench-hosts: skipped: no mpirun, or no libtlp_mpi.so (make plugin).'
    exit 0
fi
status=0
"$hosts" with --delay 0 -- true || status=$?
if [ $status -eq 77 ]; then
    echo 'bench-hosts: skipped.'
    exit 0
fi
[ $status -eq 0 ]

MODEL=${MODEL:-$("$here/../scripts/fetch-model.sh")}
export MODEL
mkdir -p "$out"
rm -f "$out"/*.json

read -r load _ </proc/loadavg
[ "${load%.*}" -eq 0 ] ||
    echo "bench-hosts: others use this machine: load average $load" >&2

echo "bench-hosts: $ranks ranks in one process" >&2
"$build/tlp" bench -m "$MODEL" --ranks "$ranks" "${options[@]}" |
    result process 0 0 f32
echo 'bench-hosts: veth' >&2
"$hosts" with -- "$0" measure veth 0
for delay in $delays; do
    echo "bench-hosts: TUN, $delay us" >&2
    "$hosts" with --delay "$delay" -- "$0" measure tun "$delay"
done
"$python" "$here/bench-hosts.py" "${RESULTS:-$out}"/hosts.csv "$out"/hosts.svg \
    "$out"/*.json
