#!/usr/bin/env bash
# check-servers.sh BUILD - build the servers of examples/servers by pkg-config
# against a library that is installed in a temporary folder, and send them
# requests.  A server whose Debian packages are missing is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(realpath "$1")
tool=$build/tlp

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
if ! model=$(scripts/fetch-model.sh); then
    echo 'check-servers: skipped: the model could not be fetched' >&2
    exit 0
fi

# Below $root everything is readable by the user that runs PostgreSQL.
chmod 755 "$root"
make --no-print-directory -s BUILD="$build" PREFIX="$root/prefix" \
    install-shared install-headers install-pc >/dev/null
export PKG_CONFIG_PATH=$root/prefix/lib/pkgconfig
export LD_LIBRARY_PATH=$root/prefix/lib
export PYTHONDONTWRITEBYTECODE=1

# has SERVER PACKAGE COMMAND...: whether COMMAND finds what PACKAGE holds.
has() {
    local server=$1 package=$2
    shift 2
    "$@" >/dev/null 2>&1 && return
    echo "check-servers: skipped: $server: no $package"
    return 1
}

# build SERVER [ARGUMENT OF MAKE]...: in a copy.
build() {
    local server=$1
    shift
    cp -r "examples/servers/$server" "$root/$server"
    make --no-print-directory -s -C "$root/$server" "$@" >"$root/$server.log" \
        2>&1 && return
    cat "$root/$server.log"
    echo "check-servers: $server does not build"
    exit 1
}

if has httplib libcpp-httplib-dev pkg-config --exists cpp-httplib; then
    build httplib CXXFLAGS='-O1 -Wall -Wextra -Werror'
    python3 test/servers/check_httplib.py "$root/httplib/http_server" \
        "$model" "$tool"
fi

PATH=$PATH:/usr/sbin
if has fastcgi libfcgi-dev pkg-config --exists fcgi &&
    has fastcgi nginx-light command -v nginx; then
    build fastcgi CFLAGS='-O1 -Wall -Wextra -Werror'
    mkdir "$root/nginx"
    python3 test/servers/check_fastcgi.py "$root/fastcgi/fcgi_app" "$model" \
        "$tool" "$root/nginx"
fi

# The extension is installed into a copy of the server, which looks for its
# folders relative to its own program: nothing in the system changes.
postgresql() {
    local bin share copy=$root/pg cluster=$root/cluster
    bin=$(pg_config --bindir)
    share=$(pg_config --sharedir)
    mkdir -p "$copy$bin" "$copy$share" "$cluster"
    cp -r "$bin/." "$copy$bin"
    mkdir -p "$copy$(pg_config --pkglibdir)"
    cp -r "$(pg_config --pkglibdir)/." "$copy$(pg_config --pkglibdir)"
    cp -r "$share/." "$copy$share"
    build postgresql COPT=-Werror
    make --no-print-directory -s -C "$root/postgresql" DESTDIR="$copy" \
        install >/dev/null
    cp "$model" "$root/model.gguf"
    chmod 644 "$root/model.gguf"
    chmod -R a+rX "$root/prefix"
    [ "$(id -u)" -ne 0 ] || chown nobody "$cluster"
    python3 test/servers/check_postgresql.py "$copy$bin" "$root/model.gguf" \
        "$tool" "$cluster"
}
if has postgresql postgresql-server-dev-15 pg_config --pgxs &&
    has postgresql postgresql-server-dev-15 test -e "$(pg_config --pgxs)" &&
    has postgresql postgresql-15 test -x "$(pg_config --bindir)/initdb"; then
    postgresql
fi
