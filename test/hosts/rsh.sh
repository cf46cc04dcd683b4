#!/bin/sh
# rsh.sh ADDRESS COMMAND... - what mpirun calls in place of ssh: run a command
# on the host, a network namespace of hosts.sh, that has this address.
set -eu

address=$1
shift
case $address in
"$HOSTS_VETH_A" | "${HOSTS_TUN_A-none}") host=$HOSTS_A ;;
"$HOSTS_VETH_B" | "${HOSTS_TUN_B-none}") host=$HOSTS_B ;;
*)
    echo "rsh.sh: no host has the address $address" >&2
    exit 1
    ;;
esac
exec "${0%/*}/hosts.sh" on "$host" sh -c "$*"
