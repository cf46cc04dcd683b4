#!/usr/bin/env bash
# check-abi.sh LIBRARY [PLUGIN [CUDA_PLUGIN]] - what the shared library and the
# plug-ins for MPI and GPUs export and import, and whether the headers are C99
# and C++11; "" for a plug-in that was not built.
set -euo pipefail

here=$(dirname "$0")
library=$1
plugin=${2-}
cuda=${3-}
bad=0

fail() {
    echo "check-abi: $*"
    bad=1
}

# Version nodes ("TLP_1") are listed as absolute symbols.
exported() {
    nm -D --defined-only "$1" | awk '$2 != "A" { print $3 }' | sed 's/@.*//' |
        LC_ALL=C sort
}
if ! diff <(LC_ALL=C sort "$here/abi/symbols.txt") <(exported "$library"); then
    fail "exported names differ from test/abi/symbols.txt"
fi

# A library must not end, nor print for, the program that it lives in.
forbidden='abort|exit|_exit|_Exit|quick_exit|signal|sigaction|setenv|MPI_Abort'
forbidden+='|printf|vprintf|puts|putchar|perror|fprintf|vfprintf|fputs'
forbidden+='|__(printf|fprintf|vfprintf)_chk|stdout|stderr|__assert_fail'
imports_forbidden() {
    nm -D --undefined-only "$1" | awk '{ print $NF }' | sed 's/@.*//' |
        grep -xE "$forbidden|${2-none}"
}
if imports_forbidden "$library" atexit; then
    fail "imports what a library must not use"
fi

abi=$(sed -n 's/^#define TLP_ABI_VERSION \([0-9]*\).*/\1/p' include/tlp.h)
check_soname() {
    local soname
    soname=$(readelf -d "$1" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')
    [ "$soname" = "$2" ] || fail "soname $soname, $2 expected"
    if readelf -d "$1" | grep -E 'RPATH|RUNPATH'; then
        fail "$1 has a run path"
    fi
}
check_soname "$library" "libtlp.so.$abi"
if readelf -d "$library" | grep -i 'NEEDED.*mpi'; then
    fail "the library itself needs MPI"
fi

# The runtime that is linked into it brings imports that are not ours to choose.
if [ -n "$cuda" ]; then
    [ "$(exported "$cuda")" = tlpi_device_v1 ] ||
        fail "the plug-in for GPUs exports $(exported "$cuda")"
    check_soname "$cuda" "libtlp_cuda.so.$abi"
fi

if [ -n "$plugin" ]; then
    [ "$(exported "$plugin")" = tlpi_transport_v1 ] ||
        fail "the plug-in exports $(exported "$plugin")"
    if imports_forbidden "$plugin"; then
        fail "the plug-in imports what a library must not use"
    fi
    check_soname "$plugin" "libtlp_mpi.so.$abi"
fi

# try_header HEADER NAME COMPILER...
try_header() {
    local header=$1 name=$2
    shift 2
    echo "#include \"$header\"" | "$@" -Iinclude -Wall -Wextra -Wpedantic \
        -Werror -pedantic-errors -fsyntax-only - || fail "$header is not $name"
}
for header in tlp.h tlp_tune.h tlp_eval.h; do
    try_header $header C99 "${CC:-cc}" -std=c99 -x c
    try_header $header C11 "${CC:-cc}" -std=c11 -x c
    try_header $header C++11 "${CXX:-c++}" -std=c++11 -x c++
done
if [ -n "$plugin" ]; then
    read -ra flags <<<"$MPI_CFLAGS"
    try_header tlp_mpi.h C99 "${CC:-cc}" -std=c99 "${flags[@]}" -x c
    try_header tlp_mpi.h C++11 "${CXX:-c++}" -std=c++11 "${flags[@]}" -x c++
fi

[ $bad -eq 0 ] && echo "abi: $(wc -l <"$here/abi/symbols.txt") names, clean"
exit $bad
