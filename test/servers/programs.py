"""What the checks of the example servers share: programs, requests, texts.

Deadlines are long, because the machine may be busy: they end a check that
would wait forever, and no check measures time.
"""
import contextlib
import http.client
import os
import subprocess
import sys
import threading
import time

DEADLINE = 300
PROMPTS = ["Why is the sky blue?", "Name three colours.", "What is a cat?",
           "Tell me about Paris.", "What is 2 plus 3?"]


def fail(text):
    sys.exit(f"check-servers: {os.path.basename(sys.argv[0])}: {text}")


def expect(condition, text):
    if not condition:
        fail(text)


def wanted(tool, model, prompt, n):
    """The greedy text of `tlp run`."""
    out = subprocess.run([tool, "run", "-m", model, "-p", prompt, "-n", str(n)],
                         capture_output=True, check=True, timeout=DEADLINE)
    return out.stdout.decode().strip()


def until(condition, text):
    """Wait until condition() holds."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            fail(f"waited {DEADLINE} s until {text}")
        time.sleep(0.05)


class Program:
    """A program that runs until the end of a `with`; then SIGTERM ends it."""

    def __init__(self, *argv, **options):
        self.process = subprocess.Popen(
            [str(a) for a in argv], stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL, text=True, **options)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            self.process.terminate()  # nginx also ends its workers
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        elif self.process.poll() is not None:
            fail(f"{self.process.args[0]} ended with status "
                 f"{self.process.returncode}")
        else:
            self.process.terminate()
            status = self.process.wait(DEADLINE)
            expect(status == 0, f"{self.process.args[0]}: status {status} "
                   "after SIGTERM, 0 expected")


class Server:
    """Requests to 127.0.0.1:port."""

    def __init__(self, port):
        self.port = port

    def start(self, method, path, body=None):
        """A response whose body has not been read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port,
                                                timeout=DEADLINE)
        connection.request(method, path, body=body)
        return connection, connection.getresponse()

    def ask(self, path, body=None):
        """Status and text of a request."""
        connection, response = self.start("GET" if body is None else "POST",
                                          path, body)
        with contextlib.closing(connection):
            return response.status, response.read().decode().strip()

    def stats(self):
        status, text = self.ask("/stats")
        expect(status == 200, f"/stats: {status} {text}")
        return {k: int(v) for k, v in
                (line.split() for line in text.splitlines())}


def check_answers(server, tool, model, path, n):
    """Each of several clients gets the text that it would get alone."""
    alone = [wanted(tool, model, p, n) for p in PROMPTS]
    expect(len(set(alone)) == len(alone), "the prompts have equal answers")
    got = {}

    def client(prompt):
        got[prompt] = server.ask(path, prompt.encode())

    threads = [threading.Thread(target=client, args=(p,)) for p in PROMPTS]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for prompt, text in zip(PROMPTS, alone):
        expect(got.get(prompt) == (200, text),
               f"{prompt}: {got.get(prompt)}, 200 and {text!r} expected")


def leave_early(server, path):
    """Go away in the middle of a text.  Whether the server noticed: a text may
    also be complete before."""
    before = server.stats()
    connection, response = server.start("POST", path,
                                        b"Write a very long story.")
    expect(response.status == 200, f"status {response.status}")
    expect(response.read(1), "no text came")
    early = server.stats()["running"] == 1
    response.close()
    connection.close()
    until(lambda: server.stats()["ended"] == before["ended"] + 1,
          "the request of the client that went away ends")
    after = server.stats()
    expect(after["running"] == 0, "the request still runs")
    return early and after["canceled"] == before["canceled"] + 1


def check_disconnect(server, path):
    """Text comes while it is written, and a client that goes away in the middle
    of a text ends its request."""
    expect(any(leave_early(server, path) for _ in range(5)),
           "no request of a client that went away was canceled")
