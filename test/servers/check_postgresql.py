#!/usr/bin/env python3
"""check_postgresql.py BIN MODEL TLP FOLDER - queries to
examples/servers/postgresql in a cluster of its own in FOLDER.

BIN has initdb, pg_ctl and psql.  The server refuses to run as root, so root
runs it as the user nobody.
"""
import os
import pathlib
import subprocess
import sys

from programs import DEADLINE, expect, fail, wanted

bin_folder, model, tool, folder = sys.argv[1:]
data = os.path.join(folder, "data")
prefix = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] \
    if os.getuid() == 0 else []


def run(*argv):
    out = subprocess.run([*prefix, *argv], capture_output=True, text=True,
                         timeout=DEADLINE, cwd=folder, stdin=subprocess.DEVNULL)
    return out.returncode, out.stdout, out.stderr


def must(*argv):
    status, out, err = run(*argv)
    if status != 0:
        log = pathlib.Path(folder, "log")
        fail(f"{argv[0]}: status {status}: {out}{err}"
             f"{log.read_text() if log.exists() else ''}")
    return out


def sql(*commands):
    """Results of commands in one backend, and its messages; psql goes on after
    an error."""
    arguments = [a for c in commands for a in ("-c", c)]
    _, out, err = run(f"{bin_folder}/psql", "-h", folder, "-U", "owner",
                      "-d", "postgres", "-X", "-A", "-t", "-q", *arguments)
    return out.strip(), err.strip()


def refused(text, *commands):
    """The last command fails with this text, and its backend goes on."""
    out, err = sql(*commands, "SELECT 'alive'")
    expect(text in err and out.endswith("alive"),
           f"{commands[-1]}: {out!r} {err!r}, an error with {text!r} expected")


use = f"SET tlp.model = '{model}'"
must(f"{bin_folder}/initdb", "-D", data, "-U", "owner", "-A", "trust",
     "--no-sync", "-E", "UTF8", "--locale=C")
must(f"{bin_folder}/pg_ctl", "-D", data, "-w", "-t", str(DEADLINE),
     "-l", f"{folder}/log", "-o",
     f"-c listen_addresses='' -c unix_socket_directories='{folder}' "
     "-c fsync=off", "start")
try:
    expect(sql("CREATE EXTENSION pg_tlp") == ("", ""), "CREATE EXTENSION")
    text = wanted(tool, model, "Name three colours.", 16)
    got = sql(use, "SELECT tlp_generate('Name three colours.', 16)")
    expect(got == (text, ""), f"{got}, {text!r} expected")
    # two calls of a backend have one session, and equal texts
    got = sql(use, "SELECT count(DISTINCT tlp_generate(p, 4)) FROM "
              "unnest(ARRAY['Name three colours.', 'Name three colours.', "
              "'What is a cat?']) AS p")
    expect(got == ("2", ""), f"{got}, 2 texts expected")
    expect(sql("SELECT tlp_generate(NULL) IS NULL") == ("t", ""), "NULL")

    long = "SELECT tlp_generate('Write a very long story.', 1000000)"
    refused("statement timeout", use, "SET statement_timeout = '1s'", long,
            "SET statement_timeout = 0")
    got = sql(use, "SET statement_timeout = '1s'", long,
              "SET statement_timeout = 0",
              "SELECT tlp_generate('Name three colours.', 16)")
    expect(got[0] == text, f"after a timeout: {got}")
    # a cancellation while the prompt is evaluated, or the model loaded
    refused("statement timeout", use, "SET tlp.n_ctx = 20000",
            "SET statement_timeout = '1s'",
            "SELECT tlp_generate(repeat('word ', 12000), 1)",
            "SET statement_timeout = 0")

    refused("tlp.model is not set", "SELECT tlp_generate('x')")
    refused("/none/x.gguf", "SET tlp.model = '/none/x.gguf'",
            "SELECT tlp_generate('x')")
    refused("par:", use, "SET tlp.plan = 'par:1-'", "SELECT tlp_generate('x')")
    refused("at least 1", use, "SELECT tlp_generate('x', 0)")
    refused("n_ctx", use, "SELECT tlp_generate(repeat('word ', 20000))")
    # only a superuser chooses the file, before the library is loaded and after
    refused("tlp.model is not set", "CREATE ROLE guest", "SET ROLE guest", use,
            "SELECT tlp_generate('x')")
    refused("permission denied", "LOAD 'pg_tlp'", "SET ROLE guest", use)
    # another model path after a bad one, in one backend
    got = sql("SET tlp.model = '/none/x.gguf'", "SELECT tlp_generate('x')", use,
              "SELECT tlp_generate('Name three colours.', 16)")
    expect(got[0] == text and "/none/x.gguf" in got[1], f"{got}")
    log = pathlib.Path(folder, "log").read_text()
    expect("terminated by signal" not in log, f"a backend died: {log}")
finally:
    run(f"{bin_folder}/pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
print("postgresql: clean")
