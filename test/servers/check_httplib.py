#!/usr/bin/env python3
"""check_httplib.py PROGRAM MODEL TLP - requests to examples/servers/httplib."""
import subprocess
import sys
import urllib.parse

from programs import (DEADLINE, Program, Server, check_answers,
                      check_disconnect, expect)

program, model, tool = sys.argv[1:]

with Program(program, model) as p:
    url = urllib.parse.urlsplit(p.process.stdout.readline().strip())
    server = Server(url.port)
    check_answers(server, tool, model, "/generate?n=16", 16)
    check_disconnect(server, "/generate?n=1000000")
    for path, body, wanted_status, part in [
            ("/generate?n=0", b"x", 400, "n:"),
            ("/generate?n=12x", b"x", 400, "n:"),
            ("/generate?n=99999999999999999999", b"x", 400, "n:"),
            ("/generate", b"a\0b", 400, "NUL"),
            ("/generate", b"\xff\xfe", 400, "UTF-8"),
            ("/generate", b"word " * 20000, 400, "n_ctx"),
            ("/generate", b"x" * ((1 << 20) + 1), 413, ""),
            ("/none", b"x", 404, "")]:
        status, text = server.ask(path, body)
        expect(status == wanted_status and part in text,
               f"{path} {body[:10]}: {status} {text}, {wanted_status} with "
               f"{part!r} expected")
    # the server goes on
    status, text = server.ask("/generate?n=2", b"Hello")
    expect(status == 200 and text, f"{status} {text}")
    # a request that runs does not keep the server from ending
    connection, response = server.start("POST", "/generate?n=1000000", b"Hello")
    expect(response.read(1), "no text came")

out = subprocess.run([program, "/none/x.gguf"], capture_output=True, text=True,
                     timeout=DEADLINE)
expect(out.returncode == 1 and "/none/x.gguf" in out.stderr, str(out))
print("httplib: clean")
