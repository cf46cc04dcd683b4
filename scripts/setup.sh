#!/bin/sh
# setup.sh build|check|all - install the Debian packages that are missing.
#
# build: to compile; check: to test, too; all: also clang, what reads documents,
# and the servers of examples/servers, which check-all uses where they are.
# Says what it does; does nothing, and needs no rights, when all is there.
set -eu

build='build-essential pkg-config libpcre2-dev libjansson-dev
       libhwloc-dev libmicrohttpd-dev python3-minimal python3-pip'
check='libcriterion-dev openmpi-bin libopenmpi-dev iproute2 python3-pycparser
       python3-jinja2 python3-venv locales'

# For examples/servers.
servers='libcpp-httplib-dev libfcgi-dev nginx-light postgresql-15
         postgresql-server-dev-15'

case "${1-}" in
build) wanted=$build ;;
check) wanted="$build $check" ;;
all) wanted="$build $check clang clang-format python3-cffi doxygen man-db
     $servers" ;;
*)
    echo 'usage: setup.sh build|check|all' >&2
    exit 2
    ;;
esac

# What a package is wanted for; a compiler or Python from elsewhere will do.
present() {
    case "$1" in
    build-essential) command -v "${CC:-cc}" && command -v "${CXX:-c++}" ;;
    pkg-config) command -v pkg-config ;;
    python3-minimal) command -v python3 ;;
    python3-pip) python3 -m pip --version ;;
    libcriterion-dev) pkg-config --exists criterion ;;
    openmpi-bin) command -v mpirun ;;
    libopenmpi-dev) command -v "${MPICC:-mpicc}" ;;
    iproute2) command -v ip ;;
    python3-pycparser) python3 -c 'import pycparser' ;;
    python3-jinja2) python3 -c 'import jinja2' ;;
    python3-venv) python3 -c 'import venv, ensurepip' ;;
    locales) command -v localedef && test -e /usr/share/i18n/locales/de_DE ;;
    python3-cffi) python3 -c 'import cffi' ;;
    doxygen) command -v "${DOXYGEN:-doxygen}" ;;
    man-db) command -v man ;;
    clang) command -v "${CLANG:-clang}" ;;
    clang-format) command -v "${CLANG_FORMAT:-clang-format}" ;;
    libpcre2-dev) pkg-config --exists libpcre2-8 ;;
    libjansson-dev) pkg-config --exists jansson ;;
    libmicrohttpd-dev) pkg-config --exists libmicrohttpd ;;
    libhwloc-dev) pkg-config --exists hwloc ;;
    libcpp-httplib-dev) pkg-config --exists cpp-httplib ;;
    libfcgi-dev) pkg-config --exists fcgi ;;
    nginx-light) command -v nginx || test -x /usr/sbin/nginx ;;
    postgresql-15) test -x /usr/lib/postgresql/15/bin/initdb ;;
    postgresql-server-dev-15)
        test -e /usr/lib/postgresql/15/lib/pgxs/src/makefiles/pgxs.mk
        ;;
    esac >/dev/null 2>&1
}

missing=
for package in $wanted; do
    present "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "setup: missing:$missing"
if ! command -v apt-get >/dev/null; then
    echo 'setup: no apt-get here; install what these packages hold' >&2
    exit 1
fi

as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root=sudo
    if ! command -v sudo >/dev/null; then
        echo 'setup: not root and no sudo; as root, run' >&2
        echo "    apt-get install$missing" >&2
        exit 1
    fi
fi

echo "setup: ${as_root:+$as_root }apt-get install$missing"
$as_root apt-get update -q
# shellcheck disable=SC2086 # a list of words
$as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qy --no-install-recommends $missing
