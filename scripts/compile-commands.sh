#!/usr/bin/env bash
# compile-commands.sh COMPILER LIB_FLAGS FILE... - print compile_commands.json.
set -euo pipefail

quote() {
    printf '%s' "$1" | tr -s ' \n' ' ' | sed 's/[\\"]/\\&/g'
}

compiler=$1
lib_flags=$2
shift 2
separator='['
for file in "$@"; do
    flags=
    [[ $file == src/* ]] || flags=$lib_flags
    case "$file" in
    */mpi/*) flags="$flags ${MPI_FLAGS-}" ;;
    *_avx2.c) flags="$flags ${AVX2_FLAGS-}" ;;
    *_avx512.c) flags="$flags ${AVX512_FLAGS-}" ;;
    *_amx.c) flags="$flags ${AMX_FLAGS-}" ;;
    *_shani.c) flags="$flags ${SHANI_FLAGS-}" ;;
    esac
    printf '%s\n{ "directory": "%s", "file": "%s",\n  "command": "%s" }' \
        "$separator" "$(quote "$PWD")" "$file" \
        "$(quote "$compiler $flags -c $file")"
    separator=,
done
printf '\n]\n'
