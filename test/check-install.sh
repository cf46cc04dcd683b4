#!/usr/bin/env bash
# check-install.sh - install into a temporary folder, build and run programs
# against it through pkg-config, uninstall, and look for what is left.
set -euo pipefail

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
prefix=/opt/tlp
make() { command "${MAKE:-make}" --no-print-directory -s "$@" >/dev/null; }

make install BUILD="${BUILD:-build}" DESTDIR="$root" PREFIX=$prefix

# The sysroot makes pkg-config's paths those of the temporary folder.
export PKG_CONFIG_PATH=$root$prefix/lib/pkgconfig
export PKG_CONFIG_SYSROOT_DIR=$root
export PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1
read -ra flags < <(pkg-config --cflags --libs tlp)
version=$(pkg-config --modversion tlp)

${CC:-cc} -std=c99 -o "$root/generate" examples/01_generate.c "${flags[@]}"
${CXX:-c++} -std=c++11 -o "$root/from_cxx" examples/04_from_cxx.cc \
    "${flags[@]}"

# Without a model they end with a message of the library: it was found, loaded
# and called.
export LD_LIBRARY_PATH=$root$prefix/lib
for program in generate from_cxx; do
    if text=$("$root/$program" "$root/none.gguf" hello 2>&1); then
        echo "check-install: $program: a missing model was no error"
        exit 1
    fi
    if [[ $text != *none.gguf* ]]; then
        echo "check-install: $program: $text"
        exit 1
    fi
done

# The shared library is what was linked, and the static one links too.
readelf -d "$root/generate" | grep -q 'NEEDED.*libtlp\.so\.'
export PKG_CONFIG_SYSROOT_DIR=
mapfile -t deps < <(pkg-config --print-requires-private tlp)
read -ra deps < <(pkg-config --libs "${deps[@]}")
${CC:-cc} -std=c99 -o "$root/generate_static" examples/01_generate.c \
    -I"$root$prefix/include" "$root$prefix/lib/libtlp.a" "${deps[@]}" \
    -lm -ldl -pthread

installed=$("$root$prefix/bin/tlp" --version | head -n 1)
if [ "$installed" != "tlp $version" ]; then
    echo "check-install: $installed installed, tlp $version in tlp.pc"
    exit 1
fi
for page in man1/tlp.1 man3/libtlp.3; do
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

make uninstall DESTDIR="$root" PREFIX=$prefix
left=$(find "$root$prefix" ! -type d)
if [ -n "$left" ]; then
    echo "check-install: left after uninstall:"
    echo "$left"
    exit 1
fi
echo 'install: clean'
