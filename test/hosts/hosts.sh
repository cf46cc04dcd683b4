#!/usr/bin/env bash
# hosts.sh - two hosts on one machine: network namespaces joined by a link.
# To be run from BUILD/test/hosts, where the programs that it needs are.
#
#   hosts.sh with [--delay MICROSECONDS] [-v] -- COMMAND...
#       Set up, run COMMAND, clean up; exit with its status.  The hosts are
#       joined by a veth pair and, with --delay, by a second link of two TUN
#       devices, each packet of which arrives so much later.  77: it cannot be
#       done here, and why is on standard error.  -v: counters of the delayed
#       link at the end, on standard error.
#
# COMMAND runs outside of both hosts and finds in its environment
#   HOSTS_A HOSTS_B            names of the namespaces
#   HOSTS_VETH_A HOSTS_VETH_B  addresses on the veth pair
#   HOSTS_VETH_NET             its network, ADDRESS/BITS
#   HOSTS_TUN_A _B _NET        those of the delayed link, if there is one
#   HOSTS_NET HOSTS_DEV        network and device (the same in both hosts) of
#                              the link to test: the delayed one, else veth
# and may call
#   hosts.sh on HOST COMMAND...  run it there; HOST is a name of a namespace
#   hosts.sh mpirun ARGUMENT...  mpirun on host A, ranks on A and B in turn;
#                                MPI uses the link to test, mpirun itself veth
#   hosts.sh cut [all]           take the link to test, or both, down in host B
#   hosts.sh mend                take both up again
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

# ==== inside =================================================================

# A host of its own has a name of its own, too.
hosts_on() {
    local host=$1
    shift
    # shellcheck disable=SC2016 # not these variables, the inner shell's
    exec ip netns exec "$host" unshare --uts sh -c \
        'echo "$1" >/proc/sys/kernel/hostname; shift; exec "$@"' - "$host" "$@"
}

hosts_mpirun() {
    # Bound ranks would all sit on the first core: each host thinks that it has
    # the machine for itself.
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    hosts_on "$HOSTS_A" mpirun --mca plm_rsh_agent "$here/rsh.sh" \
        --host "$HOSTS_VETH_A:64,$HOSTS_VETH_B:64" --map-by node \
        --bind-to none --mca btl tcp,self \
        --mca btl_tcp_if_include "$HOSTS_NET" \
        --mca oob_tcp_if_include "$HOSTS_VETH_NET" "$@"
}

# ==== setting up and cleaning up =============================================

cannot() {
    echo "hosts.sh: no two hosts here: $1" >&2
    exit 77
}

check_possible() {
    [ "$(id -u)" -eq 0 ] || cannot 'not root'
    command -v ip >/dev/null || cannot 'no ip program (package iproute2)'
    ip netns add "$HOSTS_A" 2>/dev/null || cannot 'no network namespaces'
    ip -n "$HOSTS_A" link add probe0 type veth peer name probe1 2>/dev/null ||
        cannot 'no veth devices'
    ip -n "$HOSTS_A" link del probe0
    [ -z "$delay" ] || [ -c /dev/net/tun ] || cannot 'no /dev/net/tun'
}

# configure HOST DEVICE ADDRESS/BITS
configure() {
    ip -n "$1" address add "$3" dev "$2"
    ip -n "$1" link set "$2" up
}

set_up_veth() {
    export HOSTS_VETH_A=10.213.71.1 HOSTS_VETH_B=10.213.71.2
    export HOSTS_VETH_NET=10.213.71.0/24
    ip -n "$HOSTS_A" link add veth0 type veth peer name veth0 netns "$HOSTS_B"
    configure "$HOSTS_A" veth0 $HOSTS_VETH_A/24
    configure "$HOSTS_B" veth0 $HOSTS_VETH_B/24
}

set_up_tun() {
    export HOSTS_TUN_A=10.213.72.1 HOSTS_TUN_B=10.213.72.2
    export HOSTS_TUN_NET=10.213.72.0/24
    local host ready
    for host in "$HOSTS_A" "$HOSTS_B"; do
        ip -n "$host" tuntap add tun0 mode tun vnet_hdr
        ip -n "$host" link set tun0 txqueuelen 4096
    done
    configure "$HOSTS_A" tun0 $HOSTS_TUN_A/24
    configure "$HOSTS_B" tun0 $HOSTS_TUN_B/24
    exec {ready}< <(exec "$here/delay" "${verbose[@]}" "$delay" \
        "$HOSTS_A" tun0 "$HOSTS_B" tun0)
    forwarder=$!
    read -r -t 5 -u "$ready" _ || {
        echo 'hosts.sh: the delayed link did not start' >&2
        exit 1
    }
}

set_up() {
    ip netns add "$HOSTS_B"
    ip -n "$HOSTS_A" link set lo up
    ip -n "$HOSTS_B" link set lo up
    set_up_veth
    export HOSTS_NET=$HOSTS_VETH_NET HOSTS_DEV=veth0
    if [ -n "$delay" ]; then
        set_up_tun
        export HOSTS_NET=$HOSTS_TUN_NET HOSTS_DEV=tun0
    fi
}

# end PID: ask it to end, and after 2 s make it.
end() {
    kill -TERM "$1" 2>/dev/null || return 0
    for _ in {1..40}; do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.05
    done
    kill -KILL "$1" 2>/dev/null || true
}

clean_up() {
    local host pid
    trap '' INT TERM HUP
    [ -z "$command" ] || end "$command"
    [ -z "$forwarder" ] || end "$forwarder"
    for host in "$HOSTS_A" "$HOSTS_B"; do
        [ -e "/run/netns/$host" ] || continue
        for pid in $(ip netns pids "$host"); do
            end "$pid"
        done
        ip netns del "$host"
    done
}

with_hosts() {
    delay=
    verbose=()
    command=
    forwarder=
    while [ $# -gt 0 ]; do
        case $1 in
        --delay)
            delay=${2-}
            [[ $delay =~ ^[0-9]+$ ]] || usage
            shift
            ;;
        -v) verbose=(-v) ;;
        --)
            shift
            break
            ;;
        *) usage ;;
        esac
        shift
    done
    [ $# -gt 0 ] || usage

    export HOSTS_A=tlp-$$-a HOSTS_B=tlp-$$-b
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    check_possible
    set_up

    # In the background, so that a signal is noticed at once; the shell has its
    # background commands ignore two signals and read nothing.
    local status=0
    env --default-signal=INT,QUIT "$@" <&0 &
    command=$!
    wait "$command" || status=$?
    command=
    exit $status
}

# ==== command line ===========================================================

usage() {
    sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "$0" >&2
    exit 2
}

case ${1-} in
with)
    shift
    with_hosts "$@"
    ;;
mpirun)
    shift
    hosts_mpirun "$@"
    ;;
on)
    shift
    hosts_on "$@"
    ;;
cut)
    ip -n "$HOSTS_B" link set "$HOSTS_DEV" down
    [ "${2-}" != all ] || ip -n "$HOSTS_B" link set veth0 down
    ;;
mend)
    ip -n "$HOSTS_B" link set veth0 up
    ip -n "$HOSTS_B" link set "$HOSTS_DEV" up
    ;;
*) usage ;;
esac
