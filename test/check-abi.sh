#!/usr/bin/env bash
# check-abi.sh LIBRARY - what the shared library exports and imports, and
# whether its header is C99 and C++11.
set -euo pipefail

here=$(dirname "$0")
library=$1
bad=0

fail() {
    echo "check-abi: $*"
    bad=1
}

# Version nodes ("TLP_0") are listed as absolute symbols.
exported=$(nm -D --defined-only "$library" | awk '$2 != "A" { print $3 }' |
    sed 's/@.*//' | LC_ALL=C sort)
if ! diff <(LC_ALL=C sort "$here/abi/symbols.txt") <(echo "$exported"); then
    fail "exported names differ from test/abi/symbols.txt"
fi

# A library must not end, nor print for, the program that it lives in.
forbidden='abort|exit|_exit|_Exit|quick_exit|atexit|signal|sigaction|setenv'
forbidden+='|printf|vprintf|puts|putchar|perror|fprintf|vfprintf|fputs'
forbidden+='|__(printf|fprintf|vfprintf)_chk|stdout|stderr|__assert_fail'
if nm -D --undefined-only "$library" | awk '{ print $NF }' | sed 's/@.*//' |
    grep -xE "$forbidden"; then
    fail "imports what a library must not use"
fi

soname=$(readelf -d "$library" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')
abi=$(sed -n 's/^#define TLP_ABI_VERSION \([0-9]*\).*/\1/p' include/tlp.h)
[ "$soname" = "libtlp.so.$abi" ] ||
    fail "soname $soname, libtlp.so.$abi expected"
if readelf -d "$library" | grep -E 'RPATH|RUNPATH'; then
    fail "has a run path"
fi

try_header() {
    local name=$1
    shift
    echo '#include "tlp.h"' | "$@" -Iinclude -Wall -Wextra -Wpedantic -Werror \
        -pedantic-errors -fsyntax-only - || fail "tlp.h is not $name"
}
try_header C99 "${CC:-cc}" -std=c99 -x c
try_header C11 "${CC:-cc}" -std=c11 -x c
try_header C++11 "${CXX:-c++}" -std=c++11 -x c++

[ $bad -eq 0 ] && echo "abi: $(wc -l <"$here/abi/symbols.txt") names, clean"
exit $bad
