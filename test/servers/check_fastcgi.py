#!/usr/bin/env python3
"""check_fastcgi.py PROGRAM MODEL TLP FOLDER - requests to
examples/servers/fastcgi behind an nginx of its own in FOLDER, with the
example's nginx.conf."""
import os
import pathlib
import shutil
import socket
import subprocess
import sys

from programs import (DEADLINE, Program, Server, check_answers,
                      check_disconnect, expect, until)

program, model, tool, folder = sys.argv[1:]
folder = pathlib.Path(folder)
nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
source = pathlib.Path(program).parent / "nginx.conf"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


port = free_port()
conf = source.read_text()
expect("127.0.0.1:8080" in conf, "nginx.conf has another address")
conf = conf.replace("127.0.0.1:8080", f"127.0.0.1:{port}")
conf = conf.replace("error_log stderr;", "error_log stderr crit;")
if os.getuid() == 0:  # workers of nginx may use the socket
    conf = "user root;\n" + conf
(folder / "nginx.conf").write_text(conf)

with Program(program, model, folder / "app.sock"), \
        Program(nginx, "-p", folder, "-c", "nginx.conf", "-e", "stderr",
                cwd=folder):
    until(lambda: (folder / "app.sock").exists() and answers(port),
          "nginx answers")
    server = Server(port)
    check_answers(server, tool, model, "/generate?n=16", 16)
    check_disconnect(server, "/generate?n=1000000")
    for query, body, wanted_status, part in [
            ("", b"", 400, "1 byte"), ("", b"a\0b", 400, "NUL"),
            ("", b"\xff\xfe", 400, "UTF-8"),
            ("", b"word " * 20000, 400, "n_ctx"),
            ("", b"x" * ((1 << 20) + 1), 413, ""),
            ("?n=0", b"x", 400, "n:"), ("?n=", b"x", 400, "n:"),
            ("?n=1x", b"x", 400, "n:"), ("?m=1", b"x", 400, "n:"),
            ("?n=99999999999999999999", b"x", 400, "n:")]:
        status, text = server.ask("/generate" + query, body)
        expect(status == wanted_status and part in text,
               f"{query} {body[:10]}: {status} {text}, {wanted_status} with "
               f"{part!r} expected")
    connection, response = server.start("POST", "/generate?n=1000000", b"Hello")
    expect(response.read(1), "no text came")

out = subprocess.run([program, "/none/x.gguf", folder / "b.sock"],
                     capture_output=True, text=True, timeout=DEADLINE)
expect(out.returncode == 1 and "/none/x.gguf" in out.stderr, str(out))
print("fastcgi: clean")
