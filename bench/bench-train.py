#!/usr/bin/env python3
"""Products and attention for training beside PyTorch, alternating in one run.

    make build/test/bench/bench_train
    v/bin/python bench/bench-train.py --threads 1,2 [--csv kernels.csv] [CASE...]

PyTorch comes with `v/bin/pip install torch`.  Cases are those of
test/bench/bench_train.c; without any, its standard cases with f32 weights, and
quantised weights beside PyTorch's product with f32.  Each round runs each case
in both engines.  A figure is the median of the rounds' medians, with the best
run and the largest median; `cpu` is the processor time of all threads of the
best run, which other programs on the machine disturb less.

PyTorch's attention is `eager` (matmul, softmax, matmul with a mask) and `sdpa`
(scaled_dot_product_attention); both are forward and backward together.
"""
import argparse
import math
import os
import statistics
import subprocess
import sys
import time

import bench_record
import torch

CASES = [
    "forward:256:576:1536:F32", "forward:256:576:1536:Q4_1",
    "forward:256:576:1536:Q8_0", "forward:256:1536:576:F32",
    "forward:256:1536:576:Q4_1", "forward:256:1536:576:Q4_K",
    "forward:256:576:49152:F32", "forward:256:576:49152:Q8_0",
    "input:256:576:1536:F32", "input:256:576:1536:Q4_1",
    "input:256:1536:576:F32", "input:256:1536:576:Q4_1",
    "weight:256:576:1536:F32", "weight:256:1536:576:F32",
    "weight:256:576:49152:F32", "attention:256:9:3:64",
    "attention:512:9:3:64",
]


def product_of(kind, t, n_in, n_out):
    x, y = torch.randn(t, n_in), torch.randn(t, n_out)
    w = torch.randn(n_out, n_in)
    if kind == "forward":
        return lambda: torch.mm(x, w.t(), out=y)
    if kind == "input":
        return lambda: torch.mm(y, w, out=x)
    return lambda: w.addmm_(y.t(), x)


def attention_of(t, n_head, n_kv, h, fused):
    q, k, v = (torch.randn(n, t, h, requires_grad=True)
               for n in (n_head, n_kv, n_kv))
    mask = torch.full((t, t), -math.inf).triu(1)
    grad = torch.randn(n_head, t, h)

    def run():
        for x in (q, k, v):
            x.grad = None
        kk, vv = (x.repeat_interleave(n_head // n_kv, 0) for x in (k, v))
        if fused:
            o = torch.nn.functional.scaled_dot_product_attention(
                q[None], kk[None], vv[None], is_causal=True)[0]
        else:
            s = torch.matmul(q, kk.transpose(-1, -2)) * h ** -0.5 + mask
            o = torch.matmul(torch.softmax(s, -1), vv)
        o.backward(grad)
    return run


def torch_runs(case):
    kind, *sizes = case.split(":")
    if kind != "attention":
        return {"torch": product_of(kind, *map(int, sizes[:3]))}
    return {"torch eager": attention_of(*map(int, sizes), False),
            "torch sdpa": attention_of(*map(int, sizes), True)}


def times_of(fn, n_run):
    """Median and best of the runs, and the least processor time, in ms."""
    wall, cpu = [], []
    fn()
    for _ in range(n_run):
        c, w = time.process_time(), time.perf_counter()
        fn()
        wall.append((time.perf_counter() - w) * 1e3)
        cpu.append((time.process_time() - c) * 1e3)
    return statistics.median(wall), min(wall), min(cpu)


def times_of_tlp(a, case, n_thread):
    run = subprocess.run([f"{a.build}/test/bench/bench_train", str(n_thread),
                          str(a.runs), case], capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"bench-train: {case}: {run.stderr.strip()}")
    total = [0.0, 0.0, 0.0]
    for line in run.stdout.splitlines():
        words = line.split()
        for i, key in enumerate(("median", "best", "cpu")):
            total[i] += float(words[words.index(key) + 1])
    return total


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("case", nargs="*", default=CASES)
    p.add_argument("--threads", default="1,2")
    p.add_argument("--runs", type=int, default=9)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--build", default="build")
    p.add_argument("--csv")
    p.add_argument("--machine")
    a = p.parse_args()
    for n_thread in map(int, a.threads.split(",")):
        torch.set_num_threads(n_thread)
        rows = []
        for case in a.case:
            found = {}
            for _ in range(a.rounds):
                found.setdefault("libtlp", []).append(
                    times_of_tlp(a, case, n_thread))
                for name, fn in torch_runs(case).items():
                    found.setdefault(name, []).append(times_of(fn, a.runs))
            for name, t in found.items():
                median, best, cpu = zip(*t)
                print(f"{n_thread} {case:27} {name:12} ms: median "
                      f"{statistics.median(median):9.3f}  best {min(best):9.3f}"
                      f"  cpu {min(cpu):9.3f}", flush=True)
                key = bench_record.case_of(case=case, engine=name,
                                           threads=n_thread)
                rows.append((key, statistics.median(median), min(best),
                             max(median), "ms"))
                rows.append((f"{key}; clock=cpu", None, min(cpu), None, "ms"))
        if a.csv:
            bench_record.append(os.path.abspath(a.csv), "train", rows,
                                a.machine)


main()
