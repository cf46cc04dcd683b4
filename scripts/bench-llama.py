#!/usr/bin/env python3
"""Decode and prefill of libtlp beside llama.cpp, alternating in one run.

    python3 -m venv v && v/bin/pip install llama-cpp-python==0.3.36
    v/bin/python scripts/bench-llama.py MODEL.gguf [--plan P]... [--threads 2]

Both evaluate the same number of tokens on the same file with the same number
of threads; llama.cpp is driven through its own C API (llama_decode), with its
defaults.  Prints medians, spread and ratios, and with --csv each repeat.
"""
import argparse
import ctypes
import json
import statistics
import subprocess
import sys
import time


def tlp_once(a, plan, ranks):
    out = subprocess.run(
        [a.tlp, "bench", "-m", a.model, "--plan", plan, "--ranks", str(ranks),
         "--threads", str(max(1, a.threads // ranks)),
         "--prompt", str(a.prompt), "--gen", str(a.gen), "--repeat", "1",
         "--json"],
        check=True, capture_output=True, text=True).stdout
    p = json.loads(out)["plans"][0]
    return p["prefill"]["median"], p["decode"]["median"]


class Llama:
    """A llama.cpp context that is fed ids, without sampling."""

    def __init__(self, a):
        import llama_cpp as lib

        self.lib, self.a = lib, a
        self.quiet = lib.llama_log_callback(lambda level, text, user: None)
        lib.llama_log_set(self.quiet, ctypes.c_void_p(0))
        lib.llama_backend_init()
        self.model = lib.llama_model_load_from_file(
            a.model.encode(), lib.llama_model_default_params())
        p = lib.llama_context_default_params()
        p.n_ctx = a.prompt + a.gen + 16
        p.n_batch = p.n_ubatch = a.prompt
        p.n_threads = p.n_threads_batch = a.threads
        self.ctx = lib.llama_init_from_model(self.model, p)
        if not self.ctx:
            sys.exit("llama.cpp: no context")

    def decode(self, ids):
        array = (self.lib.llama_token * len(ids))(*ids)
        batch = self.lib.llama_batch_get_one(array, len(ids))
        if self.lib.llama_decode(self.ctx, batch):
            sys.exit("llama_decode failed")
        self.lib.llama_get_logits(self.ctx)

    def once(self, n_prompt, n_gen):
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.ctx), True)
        ids = [(7919 * i) % 32000 + 100 for i in range(n_prompt)]
        t0 = time.perf_counter()
        self.decode(ids)
        t1 = time.perf_counter()
        for i in range(n_gen):
            self.decode([ids[i % n_prompt]])
        t2 = time.perf_counter()
        return n_prompt / (t1 - t0), n_gen / (t2 - t1)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("model")
    ap.add_argument("--tlp", default="build/tlp")
    ap.add_argument("--plan", action="append", help="default: serial")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--prompt", type=int, default=512)
    ap.add_argument("--gen", type=int, default=128)
    ap.add_argument("--repeat", type=int, default=5)
    ap.add_argument("--csv", help="write each repeat here")
    a = ap.parse_args()

    llama = Llama(a)
    llama.once(16, 4)
    runs = {
        "llama.cpp": lambda: llama.once(a.prompt, a.gen),
    }
    for plan in a.plan or ["serial"]:
        for ranks in 1, 2:
            runs[f"tlp {plan}, ranks {ranks}"] = (
                lambda plan=plan, ranks=ranks: tlp_once(a, plan, ranks))
    width = max(map(len, runs))
    rows = {name: [] for name in runs}
    for _ in range(a.repeat):
        for name, run in runs.items():
            rows[name].append(run())
    base = [statistics.median(r[i] for r in rows["llama.cpp"]) for i in (0, 1)]
    print(f"{a.model}, {a.threads} threads, prompt {a.prompt}, gen {a.gen}, "
          f"median of {a.repeat} (min-max), tokens/s")
    for name, r in rows.items():
        cells = []
        for i, what in enumerate(("prefill", "decode")):
            v = sorted(x[i] for x in r)
            m = statistics.median(v)
            cells.append(f"{what} {m:7.1f} ({v[0]:.1f}-{v[-1]:.1f}) "
                         f"{m / base[i]:5.2f}x")
        print(f"{name:{width}s} {cells[0]}   {cells[1]}")
    if a.csv:
        with open(a.csv, "w") as f:
            f.write("engine,repeat,prefill,decode\n")
            for name, r in rows.items():
                for i, (p, d) in enumerate(r):
                    f.write(f"{name},{i},{p:.2f},{d:.2f}\n")


if __name__ == "__main__":
    main()
