#!/usr/bin/env bash
# check-install.sh - install into a temporary folder, build and run programs
# against it through pkg-config, uninstall, and look for what is left.
set -euo pipefail

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
prefix=/opt/tlp
make() { command "${MAKE:-make}" --no-print-directory -s "$@" >/dev/null; }
fail() {
    echo "check-install: $*"
    exit 1
}

# A strict umask is for this user's own files.
(umask 077 && make install BUILD="${BUILD:-build}" DESTDIR="$root" \
    PREFIX=$prefix)
closed=$(find "$root/opt" ! -type l ! -perm -044)
[ -z "$closed" ] || fail "not readable by all: $closed"
closed=$(find "$root/opt" -type d ! -perm -055)
[ -z "$closed" ] || fail "not to be entered by all: $closed"

# pkg-config finds tlp.pc alone, as on a machine without the -dev packages of
# the private libraries.  The sysroot makes its paths those of a folder.
tlp_pc() {
    local libdir=$1 sysroot=$2
    shift 2
    env PKG_CONFIG_LIBDIR="$libdir/pkgconfig" PKG_CONFIG_PATH= \
        PKG_CONFIG_SYSROOT_DIR="$sysroot" PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 \
        pkg-config "$@" tlp
}
read -ra flags < <(tlp_pc "$root$prefix/lib" "$root" --cflags --libs)
version=$(tlp_pc "$root$prefix/lib" "$root" --modversion)
wanted="-I$root$prefix/include -L$root$prefix/lib -ltlp"
[ "${flags[*]}" = "$wanted" ] || fail "flags: ${flags[*]}, not $wanted"

${CC:-cc} -std=c99 -o "$root/generate" examples/01_generate.c "${flags[@]}"
${CXX:-c++} -std=c++17 -o "$root/from_cxx" examples/04_from_cxx.cc \
    "${flags[@]}"

# The static library, with what pkg-config says that it needs.
read -ra static < <(tlp_pc "$root$prefix/lib" "$root" --static --cflags \
    --libs)
${CC:-cc} -std=c99 -o "$root/generate_static" examples/01_generate.c \
    "${static[@]/#-ltlp/-l:libtlp.a}"
if readelf -d "$root/generate_static" | grep 'NEEDED.*libtlp'; then
    fail 'the static library was not linked'
fi

# Without a model they end with a message of the library: it was found, loaded
# and called.
export LD_LIBRARY_PATH=$root$prefix/lib
for program in generate from_cxx generate_static; do
    if text=$("$root/$program" "$root/none.gguf" hello 2>&1); then
        echo "check-install: $program: a missing model was no error"
        exit 1
    fi
    if [[ $text != *none.gguf* ]]; then
        echo "check-install: $program: $text"
        exit 1
    fi
done

readelf -d "$root/generate" | grep -q 'NEEDED.*libtlp\.so\.' ||
    fail 'the shared library was not linked'

installed=$("$root$prefix/bin/tlp" --version | head -n 1)
if [ "$installed" != "tlp $version" ]; then
    echo "check-install: $installed installed, tlp $version in tlp.pc"
    exit 1
fi
for page in man1/tlp.1 man3/libtlp.3 man3/tlp_session_create.3 man3/tlp_plan.3
do
    [ -s "$root$prefix/share/man/$page" ]
done

# A program that was built against what is installed finds the plug-in there.
if [ -e "$root$prefix/lib/libtlp_mpi.so" ] && command -v mpirun >/dev/null; then
    cat >"$root/ranks.c" <<'END'
#include <stdio.h>
#include <tlp.h>

int main(void)
{
    tlp_session_options opts = TLP_SESSION_OPTIONS_INIT;
    int32_t rank, n_rank;

    opts.comm = TLP_COMM_MPI;
    if (tlp_comm_rank(&rank, &n_rank, &opts) != TLP_OK) {
        fprintf(stderr, "%s\n", tlp_last_error());
        return 1;
    }
    printf("rank %d of %d\n", (int)rank, (int)n_rank);
    return 0;
}
END
    ${CC:-cc} -std=c99 -o "$root/ranks" "$root/ranks.c" "${flags[@]}"
    ranks=$(OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
        timeout 60 mpirun --oversubscribe --bind-to none -np 2 "$root/ranks" |
        sort)
    if [ "$ranks" != $'rank 0 of 2\nrank 1 of 2' ]; then
        echo "check-install: under mpirun: $ranks"
        exit 1
    fi
fi

# The C++ interface without exceptions.
cat >"$root/results.cc" <<'END'
#include <cstdio>
#include <tlp.hpp>

int main()
{
    auto model = tlp::model::try_open("/none/x.gguf");
    std::puts(model ? "opened" : tlp_status_name(model.error().status()));
}
END
for standard in 17 20; do
    ${CXX:-c++} -std=c++$standard -fno-exceptions -Wall -Wextra -Werror \
        -o "$root/results" "$root/results.cc" "${flags[@]}"
    text=$("$root/results")
    [ "$text" = TLP_EIO ] || fail "C++$standard without exceptions: $text"
done

make uninstall DESTDIR="$root" PREFIX=$prefix
left=$(find "$root$prefix" ! -type d)
[ -z "$left" ] || fail "left after uninstall: $left"

# Blanks in both folders; pkg-config escapes them for a shell.
spaced="$root/in a folder"
make install BUILD="${BUILD:-build}" DESTDIR="$spaced" PREFIX='/opt/my tlp'
libdir="$spaced/opt/my tlp/lib"
text=$(tlp_pc "$libdir" '' --variable=libdir)
[ "$text" = '/opt/my tlp/lib' ] || fail "a blank in PREFIX: $text"
text=$(tlp_pc "$libdir" '' --define-variable=prefix="$spaced/opt/my tlp" \
    --cflags --libs)
eval "flags=($text)"
${CC:-cc} -std=c99 -o "$root/spaced" examples/01_generate.c "${flags[@]}" ||
    fail "a blank in PREFIX: $text"
make uninstall DESTDIR="$spaced" PREFIX='/opt/my tlp'
left=$(find "$spaced" ! -type d)
[ -z "$left" ] || fail "left after uninstall: $left"

# Another name for the tool, and the warning to those who package it as tlp.
text=$(make install-tool install-man BUILD="${BUILD:-build}" PREFIX=/usr \
    DESTDIR="$root/named" TOOL_NAME=tlp-run 2>&1)
[ -z "$text" ] || fail "TOOL_NAME=tlp-run: $text"
"$root/named/usr/bin/tlp-run" --version >/dev/null
grep -q '^tlp-run ' "$root/named/usr/share/man/man1/tlp-run.1" ||
    fail 'the manual page has another name'
left=$(find "$root/named" -name 'tlp' -o -name 'tlp.1')
[ -z "$left" ] || fail "TOOL_NAME=tlp-run: $left"
text=$(make install-tool BUILD="${BUILD:-build}" PREFIX=/usr \
    DESTDIR="$root/named" 2>&1)
[[ $text == *TOOL_NAME=* ]] || fail 'no warning of a tool named /usr/bin/tlp'

# The last -O of a debugging build.
last=$(command "${MAKE:-make}" -n DEBUG=1 V=1 BUILD="$root/debug" \
    "$root/debug/lib/base/alloc.o" | grep -o ' -O[0-9sgf]*' | tail -n 1)
[ "$last" = ' -O0' ] || fail "DEBUG=1 compiles with$last"
echo 'install: clean'
