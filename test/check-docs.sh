#!/usr/bin/env bash
# check-docs.sh PAGES [DOXYGEN] - every exported name has a manual page, the
# pages are well-formed, and Doxygen has no complaint about the headers.
set -euo pipefail

here=$(dirname "$0")
pages=$1
doxygen=${2-doxygen}
bad=0

fail() {
    echo "check-docs: $*"
    bad=1
}

while read -r name; do
    page=$pages/$name.3
    [ -s "$page" ] || { fail "$name has no page $page"; continue; }
    grep -q "^$name \\\\- ." "$page" || fail "$page has no brief"
    grep -q "\\.BR $name ()" docs/man/libtlp.3 ||
        fail "docs/man/libtlp.3 does not list $name"
done <"$here/abi/symbols.txt"

if command -v man >/dev/null; then
    for page in "$pages"/*.3 docs/man/*.[13]; do
        text=$(LC_ALL=C MANROFFSEQ='' man -l --warnings "$page" 2>&1 >/dev/null)
        [ -z "$text" ] || fail "$page: $text"
    done
else
    echo 'check-docs: skipped: pages are not formatted: no man (man-db)'
fi

if command -v "$doxygen" >/dev/null; then
    out=$(mktemp -d)
    trap 'rm -rf "$out"' EXIT
    BUILD=$out VERSION=check "$doxygen" docs/Doxyfile ||
        fail 'Doxygen complains about the headers'
else
    echo 'check-docs: skipped: no HTML reference: no doxygen'
fi

[ $bad -eq 0 ] && echo "docs: $(wc -l <"$here/abi/symbols.txt") pages, clean"
exit $bad
