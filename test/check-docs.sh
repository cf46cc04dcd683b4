#!/usr/bin/env bash
# check-docs.sh PAGES TLP [DOXYGEN] - every exported name has a manual page, the
# pages are well-formed, Doxygen has no complaint about the headers, and the
# README names the models and tensors that the tool TLP loads.
set -euo pipefail

here=$(dirname "$0")
pages=$1
tlp=$2
doxygen=${3-doxygen}
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

# Words of a line of `tlp info --arch`, and those of a row of README's table.
loads() { "$tlp" info --arch | sed -n "s/^$1 *//p" | tr ' ' '\n' | sort; }
row() { sed -n "s/^| $1 | \(.*\) |\$/\1/p" README.md; }

[ "$(row tensors | tr ' ' '\n' | sort)" = "$(loads tensors)" ] ||
    fail 'README.md, row tensors: not the types of tlp info --arch'
[ "$(row models | grep -o '`[^`]*`' | tr -d '`' | sort)" = "$(loads models)" ] ||
    fail 'README.md, row models: not the models of tlp info --arch'

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
