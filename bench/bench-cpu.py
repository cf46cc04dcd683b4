#!/usr/bin/env python3
"""libtlp beside llama.cpp on this CPU, alternating in one run, with a roofline.

    make bench-cpu PYTHON=v/bin/python      the types below, from MODEL
    v/bin/python bench/bench-cpu.py MODEL.gguf --plan serial --plan par:3-4

llama.cpp comes with llama-cpp-python, matplotlib draws the plot:

    python3 -m venv v
    v/bin/pip install --no-binary llama-cpp-python llama-cpp-python==0.3.36 \\
        matplotlib

(from source, so that it uses what the CPU has).  Both engines evaluate as many
tokens of the same file with as many threads; llama.cpp is driven through its
own C API (llama_decode), with its defaults.  Each repeat runs every engine
once, and measures memory and multipliers too; all numbers are medians.

  of bandwidth  what decode reads (weights as in the file, and the cache) over
                what as many threads read that do nothing else (tlp bench
                --bandwidth)
  of peak       multiply-adds of the layers' matrices at prefill over those of
                the multiplying instruction alone (test/bench/bench_peak): of
                int8 where weights are quantised, else of bf16 or f32
"""
import argparse
import ctypes
import itertools
import json
import os
import shlex
import statistics
import subprocess
import sys
import time

import bench_plot
import bench_record


def output_of(*command):
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if run.returncode:
        sys.exit(f"bench-cpu: {shlex.join(command)}: "
                 f"status {run.returncode}")
    return run.stdout


# ==== engines ================================================================


class Tlp:
    """A process for every run; it measures the memory beside the model."""

    def __init__(self, a, plan, ranks, isa):
        self.name = "libtlp"
        if len(a.plan) > 1 or plan != "serial":
            self.name += f" {plan}"
        if len(a.ranks) > 1 or ranks > 1:
            self.name += f", ranks {ranks}"
        if len(a.isa) > 1 or isa != "auto":
            self.name += f" {isa}"
        self.command = [
            f"{a.build}/tlp", "bench", "--plan", plan, "--ranks", str(ranks),
            "--isa", isa,
            "--threads", str(max(1, a.threads // ranks)),
            "--prompt", str(a.prompt), "--gen", str(a.gen), "--repeat", "1",
            "--bandwidth", "--json"]
        self.rates = []

    def open(self, path):
        self.path = path
        self.rates = []

    def close(self):
        pass

    def once(self):
        result = json.loads(output_of(*self.command, "-m", self.path))
        plan = result["plans"][0]
        self.bytes = plan["weight_bytes"] + plan["kv_bytes"]
        self.rates.append(result["bandwidth"]["reads"][-1]["rate"]["median"])
        return plan["prefill"]["median"], plan["decode"]["median"]


class Llama:
    """A llama.cpp context that is fed ids, without sampling."""

    name = "llama.cpp"

    def __init__(self, a, lib):
        self.lib, self.a = lib, a
        self.quiet = lib.llama_log_callback(lambda level, text, user: None)
        lib.llama_log_set(self.quiet, ctypes.c_void_p(0))
        lib.llama_backend_init()

    def open(self, path):
        self.model = self.lib.llama_model_load_from_file(
            path.encode(), self.lib.llama_model_default_params())
        if not self.model:
            sys.exit(f"bench-cpu: {path}: llama.cpp cannot load it")
        p = self.lib.llama_context_default_params()
        p.n_ctx = self.a.prompt + self.a.gen + 16
        p.n_batch = p.n_ubatch = self.a.prompt
        p.n_threads = p.n_threads_batch = self.a.threads
        self.ctx = self.lib.llama_init_from_model(self.model, p)
        if not self.ctx:
            sys.exit(f"bench-cpu: {path}: llama.cpp makes no context")
        self.run(16, 4)

    def close(self):
        self.lib.llama_free(self.ctx)
        self.lib.llama_model_free(self.model)

    def decode(self, ids):
        array = (self.lib.llama_token * len(ids))(*ids)
        batch = self.lib.llama_batch_get_one(array, len(ids))
        if self.lib.llama_decode(self.ctx, batch):
            sys.exit("bench-cpu: llama_decode failed")
        self.lib.llama_get_logits(self.ctx)

    def run(self, n_prompt, n_gen):
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.ctx), True)
        ids = [(7919 * i) % 32000 + 100 for i in range(n_prompt)]
        t0 = time.perf_counter()
        self.decode(ids)
        t1 = time.perf_counter()
        for i in range(n_gen):
            self.decode([ids[i % n_prompt]])
        t2 = time.perf_counter()
        return n_prompt / (t1 - t0), n_gen / (t2 - t1)

    def once(self):
        return self.run(self.a.prompt, self.a.gen)


class LlamaBench:
    """A program with the output of llama-bench -o json."""

    def __init__(self, text):
        self.name, _, command = text.partition("=")
        self.command = shlex.split(command)
        if not self.command:
            sys.exit(f"bench-cpu: --llama-bench {text}: NAME=COMMAND expected")

    def open(self, path):
        self.path = path

    def close(self):
        pass

    def once(self):
        tests = json.loads(output_of(*self.command, "-m", self.path,
                                     "-r", "1", "-o", "json"))
        speed = {t["n_gen"] > 0: t["avg_ts"] for t in tests}
        return speed[False], speed[True]


def find_engines(a):
    engines = []
    try:
        import llama_cpp

        engines.append(Llama(a, llama_cpp))
    except ImportError as e:
        print(f"bench-cpu: llama.cpp is left out: {e}\n"
              f"bench-cpu: {sys.executable} has no llama-cpp-python; to get "
              "it:\n"
              "    python3 -m venv v && v/bin/pip install --no-binary "
              "llama-cpp-python \\\n"
              "        llama-cpp-python==0.3.36 matplotlib\n"
              "    make bench-cpu PYTHON=v/bin/python", file=sys.stderr)
    engines += [LlamaBench(text) for text in a.llama_bench]
    engines += [Tlp(a, *options)
                for options in itertools.product(a.plan, a.ranks, a.isa)]
    return engines


# ==== measuring ==============================================================


def macs_of(a, path):
    """Multiply-adds of a token in the matrices of the layers; the output
    matrix meets one token of a prompt only."""
    info = json.loads(output_of(f"{a.build}/tlp", "info", "-m", path,
                                "--tensors", "--json"))
    return sum(t["ne"][0] * t["ne"][1] for t in info["tensors"]
               if t["name"].startswith("blk.") and len(t["ne"]) == 2)


class Peak:
    """What the multipliers of this machine can do, by the kind of number."""

    def __init__(self, a):
        self.command = [f"{a.build}/test/bench/bench_peak", str(a.threads)]
        self.found = os.access(self.command[0], os.X_OK)
        self.rates = {}

    def once(self):
        if self.found:
            for kind, value in json.loads(output_of(*self.command)).items():
                if isinstance(value, dict):
                    self.rates.setdefault(kind, []).append(value["rate"])

    def of(self, type):
        if type not in ("F32", "F16", "BF16"):
            kind = "int8"
        else:
            kind = "bf16" if type == "BF16" and "bf16" in self.rates else "f32"
        rates = self.rates.get(kind)
        return (kind, statistics.median(rates)) if rates else (None, None)


def measure(a, engines, path, type):
    """A row for each engine."""
    speeds = {e.name: [] for e in engines}
    peak = Peak(a)
    for e in engines:
        e.open(path)
    for i in range(a.repeat):
        peak.once()
        for e in engines:
            speeds[e.name].append(e.once())
    for e in engines:
        e.close()
    ours = [e for e in engines if isinstance(e, Tlp)]
    bandwidth = statistics.median(r for e in ours for r in e.rates)
    macs, (kind, most) = macs_of(a, path), peak.of(type)
    rows = []
    for e in engines:
        row = {"model": os.path.basename(path), "type": type,
               "engine": e.name, "threads": a.threads, "prompt": a.prompt,
               "gen": a.gen, "repeat": a.repeat}
        for i, phase in enumerate(("prefill", "decode")):
            values = [s[i] for s in speeds[e.name]]
            row[phase] = statistics.median(values)
            row[phase + "_min"] = min(values)
            row[phase + "_max"] = max(values)
            row[phase + "_ratio"] = row[phase] / (rows or [row])[0][phase]
        n_bytes = e.bytes if e in ours else ours[0].bytes
        row.update(bytes_per_token=n_bytes, bandwidth=bandwidth,
                   bandwidth_share=n_bytes * row["decode"] / bandwidth,
                   macs_per_token=macs, peak=most, peak_of=kind,
                   peak_share=most and macs * row["prefill"] / most)
        rows.append(row)
    return rows


def files_of(a):
    """The types to measure, and a file of each."""
    if not a.types:
        info = json.loads(output_of(f"{a.build}/tlp", "info", "-m", a.model,
                                    "--json"))
        yield info["model"]["quant"], a.model
        return
    folder = f"{a.build}/bench-cpu"
    os.makedirs(folder, exist_ok=True)
    for type in a.types.split(","):
        path = f"{folder}/{type}.gguf"
        output_of(f"{a.build}/tlp", "quantize", a.model, path, type)
        yield type, path
        if not a.keep:
            os.remove(path)


# ==== reporting ==============================================================


def print_rows(rows):
    width = max(len(r["engine"]) for r in rows)
    r = rows[0]
    print(f"{r['type']}, {r['threads']} threads, prompt {r['prompt']}, "
          f"gen {r['gen']}, tokens/s, median of {r['repeat']} (min-max)")
    print(f"  read {r['bandwidth'] / 1e9:.1f} GB/s, "
          f"{r['bytes_per_token'] / 1e6:.1f} MB a token: at most "
          f"{r['bandwidth'] / r['bytes_per_token']:.0f} decoded")
    if r["peak"]:
        print(f"  {r['peak_of']} {r['peak'] / 1e9:.0f} Gmac/s, "
              f"{r['macs_per_token'] / 1e6:.1f} Mmac a token: at most "
              f"{r['peak'] / r['macs_per_token']:.0f} prefilled")
    print(f"  {'':{width}s} {'prefill':>23s} ratio of peak"
          f" {'decode':>21s} ratio of bandwidth")
    for r in rows:
        share = f"{r['peak_share']:7.0%}" if r["peak"] else "      -"
        prefill = (f"{r['prefill']:7.1f} ({r['prefill_min']:.1f}-"
                   f"{r['prefill_max']:.1f})")
        decode = (f"{r['decode']:6.1f} ({r['decode_min']:.1f}-"
                  f"{r['decode_max']:.1f})")
        print(f"  {r['engine']:{width}s} {prefill:>23s} "
              f"{r['prefill_ratio']:5.2f} {share} {decode:>21s} "
              f"{r['decode_ratio']:5.2f} {r['bandwidth_share']:12.0%}")
    print(flush=True)


def record(rows, path):
    """Append the rows of one type to the CSV file."""
    r = rows[0]
    figures = [(bench_record.case_of(beside=r["type"], threads=r["threads"]),
                r["bandwidth"] / 1e9, None, None, "GB/s")]
    for r in rows:
        keys = dict(type=r["type"], engine=r["engine"], threads=r["threads"],
                    prompt=r["prompt"], gen=r["gen"])
        for phase, share, of in (("prefill", "peak_share", "% of peak"),
                                 ("decode", "bandwidth_share",
                                  "% of bandwidth")):
            case = bench_record.case_of(**keys, phase=phase)
            figures.append((case, r[phase], r[phase + "_min"],
                            r[phase + "_max"], "tokens/s"))
            if r[share]:
                figures.append((case, 100 * r[share], None, None, of))
    bench_record.append(path, "engines", figures)


def plot(rows, path):
    plt = bench_plot.pyplot()
    if not plt:
        return
    types = list(dict.fromkeys(r["type"] for r in rows))
    engines = list(dict.fromkeys(r["engine"] for r in rows))
    limits = {"prefill": ("peak", "macs_per_token"),
              "decode": ("bandwidth", "bytes_per_token")}
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5))
    for axis, phase in zip(axes, limits):
        for i, engine in enumerate(engines):
            mine = [r for r in rows if r["engine"] == engine]
            x = [types.index(r["type"]) + 0.8 * (i + 0.5) / len(engines) - 0.4
                 for r in mine]
            y = [r[phase] for r in mine]
            axis.bar(x, y, 0.8 / len(engines), label=engine, yerr=[
                [r[phase] - r[phase + "_min"] for r in mine],
                [r[phase + "_max"] - r[phase] for r in mine]], capsize=2)
        most, each = limits[phase]
        for i, type in enumerate(types):
            r = next(r for r in rows if r["type"] == type)
            if r[most]:
                axis.hlines(r[most] / r[each], i - 0.45, i + 0.45, "black",
                            "dashed", label=None if i else
                            f"{most} / {each.split('_')[0]} of a token")
        axis.set_title(phase)
        axis.set_xticks(range(len(types)), types)
        axis.grid(True, axis="y", alpha=0.3)
        axis.legend()
    axes[0].set_ylabel("tokens/s")
    bench_plot.save(figure, path)


def main():
    ap = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("model")
    ap.add_argument("--types", help="types to make from the model, with commas "
                    "between; without: the model as it is")
    ap.add_argument("--keep", action="store_true", help="keep their files")
    ap.add_argument("--plan", action="append", help="default: serial")
    ap.add_argument("--ranks", type=int, action="append", help="default: 1")
    ap.add_argument("--isa", action="append", help="default: auto")
    ap.add_argument("--threads", type=int,
                    default=len(os.sched_getaffinity(0)))
    ap.add_argument("--prompt", type=int, default=512)
    ap.add_argument("--gen", type=int, default=128)
    ap.add_argument("--repeat", type=int, default=5)
    ap.add_argument("--llama-bench", metavar="NAME=COMMAND", action="append",
                    default=[], help="another engine, by its llama-bench, with "
                    "all options but -m, -r and -o")
    ap.add_argument("--build", default="build", help="folder of libtlp")
    ap.add_argument("--csv", help="results are appended to this file")
    ap.add_argument("--svg")
    a = ap.parse_args()
    a.plan = a.plan or ["serial"]
    a.ranks = a.ranks or [1]
    a.isa = a.isa or ["auto"]

    engines = find_engines(a)
    rows = []
    for type, path in files_of(a):
        rows += measure(a, engines, path, type)
        print_rows(rows[-len(engines):])
        if a.csv:
            record(rows[-len(engines):], a.csv)
    if a.svg:
        plot(rows, a.svg)


if __name__ == "__main__":
    main()
