#!/usr/bin/env python3
"""Measure the CUDA backend on this machine's GPU, or two, in under ten minutes.

    make CUDA=1 && make bench-gpu

Checks come first (the tests on the GPU, the greedy text of SmolLM2 against the
CPU's), then times: all-reduces by size, by one shot and by NCCL; decoding
beside the copy bandwidth, graphs against none, fused pairs against serial, two
ranks on two GPUs, or on the one there is; prefill beside cuBLASLt alone.  At
last compute-sanitizer, where it is.  Models of 7B and 1B shape are made with
random weights (numpy and gguf are needed) in TLP_BENCH_DIR (/tmp), and removed.
NCCL is what TLP_NCCL names, or libnccl.so.2; two ranks on one GPU want 2.30.

The figures are appended to gpu.csv in RESULTS (BUILD/bench).
What fails, hangs or does not fit into the ten minutes is named in the last line
and makes the status 1.  Without a GPU it says why and ends with 0.
"""
import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import bench_record

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..",
                       "scripts")
BUILD = os.environ.get("BUILD", "build")
TLP = os.path.join(BUILD, "tlp")
BEGIN = time.monotonic()
BUDGET = 570  # seconds
MODELS = [  # shape, type, layers, pairs
    ("llama-2-7b", "BF16", "pairs:8-23"),
    ("llama-3.2-1b", "BF16", "pairs:4-11"),
    ("llama-2-7b", "Q4_0", "pairs:8-23"),
]
EMBEDDING = {"llama-2-7b": 32000 * 4096, "llama-3.2-1b": 0}  # read by row
HEAD = {"llama-2-7b": 32000 * 4096, "llama-3.2-1b": 128256 * 2048}


OPS = ["test_cuda_ops", "test_cuda_products", "test_cuda_attention"]
EMULATED = "no GPU, or no plug-in built for it"  # test/support/gpu_plugin.c

# Each rank has its own kernels, which wait for each other's: a sanitizer that
# runs one after the other never ends, so these are sessions of one rank.
ONE_RANK = "cuda_models/@(types|default_compute|sequences*|scores|adjustments)"

# TLP_CUDA_COMM, and what NCCL needs for two ranks on one GPU.
NCCL = {"TLP_CUDA_COMM": "nccl", "NCCL_MULTI_RANK_GPU_ENABLE": "1"}
PLAIN_NCCL = {**NCCL, "TLP_CUDA_WINDOWS": "0"}
ONE_SHOT = {"TLP_CUDA_COMM": "oneshot"}

failed = []
skipped = []
figures = []


def left():
    return BUDGET - (time.monotonic() - BEGIN)


def say(what, value):
    print(f"{what:52} {value}", flush=True)


def note(case, value, unit, low=None, high=None):
    """A figure for the CSV file."""
    figures.append((case, value, low, high, unit))


def record():
    if figures:
        folder = os.environ.get("RESULTS", os.path.join(BUILD, "bench"))
        gpus = bench_record.output_of("nvidia-smi", "--query-gpu=name",
                                      "--format=csv,noheader").splitlines()
        bench_record.append(os.path.join(folder, "gpu.csv"), "gpu", figures,
                            " and ".join(gpus) or None)


def fail(what, why):
    say(what, f"FAILED: {why}")
    failed.append(what)


def skip(what, why):
    say(what, f"skipped: {why}")
    skipped.append(what)


def run(what, args, env=None, limit=None):
    """The output, or None if it fails, for want of time as well."""
    limit = min(left(), limit or left())
    if limit < 5:
        fail(what, "ten minutes are over")
        return None
    print("$", " ".join(args), flush=True)
    env = dict(os.environ, **(env or {}))
    try:
        p = subprocess.Popen(args, env=env, text=True, start_new_session=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as e:
        fail(what, e)
        return None
    try:
        out, _ = p.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGKILL)  # its children hold the GPU too
        p.communicate()
        fail(what, f"did not end within {limit:.0f} s")
        return None
    if p.returncode or EMULATED in out:
        print(out[-3000:])
        fail(what, f"status {p.returncode}" if p.returncode else EMULATED)
        return None
    return out


def check(what, args, limit):
    if run(what, args, limit=limit) is not None:
        say(what, "passed")


def sanitize(tool, program, limit, only=None):
    """A test program under a tool of compute-sanitizer.  Tests make calls fail
    on purpose, so only what kernels do is reported.  Each process that used
    the GPU ends with a summary: without one nothing was looked at."""
    what = f"compute-sanitizer, {tool}, {program}"
    args = ["compute-sanitizer", "--tool", tool, "--target-processes", "all",
            "--error-exitcode", "9"]
    if tool == "memcheck":
        args += ["--report-api-errors", "no"]
    args.append(os.path.join(BUILD, "test", program))
    if only:
        args += ["--filter", only]
    out = run(what, args, limit=limit)
    if out is None:
        return
    found = [int(n) for n in re.findall(r"SUMMARY: (\d+) ", out)]
    if not found:
        fail(what, "no process was looked at")
    elif any(found):
        print(out[-3000:])
        fail(what, f"{sum(found)} found")
    else:
        say(what, f"passed, {len(found)} processes")


def sanitize_all():
    if not shutil.which("compute-sanitizer"):
        skip("compute-sanitizer", "not installed")
        return
    for tool in ("memcheck", "racecheck", "synccheck"):
        for program in OPS:
            sanitize(tool, program, 60)
    sanitize("memcheck", "test_cuda_models", 60, ONE_RANK)


def count_gpus():
    p = subprocess.run([TLP, "info", "--devices"], text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    print(p.stdout.strip())
    if p.returncode:
        return 0
    return len(re.findall(r"^cuda:\d+ ", p.stdout, re.MULTILINE))


def greedy_text():
    what = "SmolLM2, greedy text of 64 tokens in f32"
    p = subprocess.run([os.path.join(SCRIPTS, "fetch-model.sh")], text=True,
                       stdout=subprocess.PIPE)
    if p.returncode:
        skip(what, "no model")
        return
    texts = [run(f"{what}, {device}",
                 [TLP, "run", "-m", p.stdout.strip(), "--raw", "-n", "64",
                  "-p", "The capital of France is", "--compute", "f32",
                  "--device", device])
             for device in ("cpu", "cuda:0")]
    if None in texts:
        return
    if texts[0] == texts[1]:
        say(what, "equal")
    else:
        fail(what, f"differs: {texts}")


def limits():
    """GB/s of a copy, TFLOP/s of cuBLASLt in bf16 at prefill's shapes."""
    out = run("bench_device", [os.path.join(BUILD, "test/bench/bench_device")])
    if out is None:
        return None
    x = json.loads(out)
    say("copy bandwidth", f"{x['copy_gb_s']:.0f} GB/s")
    note("what=copy bandwidth", x["copy_gb_s"], "GB/s")
    note("what=cuBLASLt bf16 512 x 4096 x 11008", x["gemm_tflop_s"], "TFLOP/s")
    say("cuBLASLt, bf16, 512 x 4096 x 11008",
        f"{x['gemm_tflop_s']:.0f} TFLOP/s")
    return x


def allreduce_us(what, devices, env):
    """Rows of bench_allreduce, by floats; none where there is no such way."""
    out = run(what, [os.path.join(BUILD, "test/bench/bench_allreduce"),
                     *devices.split(",")], env)
    if out is None:
        return {}
    x = json.loads(out)
    if "reason" in x:
        skip(what, x["reason"])
        return {}
    return {row["floats"]: row for row in x["sizes"]}


def show_allreduces(where, devices):
    """The ways side by side, NCCL with windows and without.  Is there NCCL?"""
    shot = allreduce_us(f"all-reduce, one shot, {where}", devices, ONE_SHOT)
    nccl = allreduce_us(f"all-reduce, NCCL, {where}", devices, NCCL)
    plain = nccl and allreduce_us(f"all-reduce, NCCL without windows, {where}",
                                  devices, PLAIN_NCCL)
    slower = [n for n in shot if n in nccl and shot[n]["us"] <= nccl[n]["us"]]
    for n in shot or nccl:
        text = [f"{name} {rows[n]['us']:.1f} us"
                for name, rows in (("one shot", shot), ("NCCL", nccl),
                                   ("without windows", plain))
                if n in rows]
        if "norm_at_once_us" in shot.get(n, {}):
            text.append(f"with a norm {shot[n]['norm_apart_us']:.1f} apart, "
                        f"{shot[n]['norm_at_once_us']:.1f} at once")
        say(f"  all-reduce of {n} floats, {where}", "; ".join(text))
        for name, rows in (("one shot", shot), ("NCCL", nccl),
                           ("NCCL without windows", plain)):
            if n in rows:
                note(f"what=all-reduce; way={name}; floats={n}; where={where}",
                     rows[n]["us"], "us")
    if shot and nccl:
        say("  one shot is as fast as NCCL up to",
            f"{max(slower)} floats" if slower else "no size")
    return bool(nccl)


def bench(what, path, plans, devices="0", env=None, prompt=512, gen=64):
    args = [TLP, "bench", "-m", path, "--json", "--prompt", str(prompt),
            "--gen", str(gen), "--repeat", "3", "--device", "cuda:" + devices]
    for p in plans:
        args += ["--plan", p]
    out = run(what, args, env)
    return dict(zip(plans, json.loads(out)["plans"])) if out else {}


def show_plans(what, rows):
    base = rows["serial"]
    for plan, row in rows.items():
        d, p = row["decode"], row["prefill"]
        say(f"  {what}, {plan}",
            f"decode {d['median']:.1f} ({d['min']:.1f}-{d['max']:.1f}) "
            f"tokens/s, {d['median'] / base['decode']['median']:.2f}; prefill "
            f"{p['median']:.0f}, {p['median'] / base['prefill']['median']:.2f};"
            f" {row['allreduces_per_token']} all-reduces")
        for phase in ("prefill", "decode"):
            r = row[phase]
            note(f"what={what}; plan={plan}; phase={phase}", r["median"],
                 "tokens/s", r["min"], r["max"])


def bench_model(path, shape, kind, pairs, limit, place, nccl):
    size = os.path.getsize(path)
    item = {"BF16": 2, "Q4_0": 18 / 32}[kind]
    read = size - EMBEDDING[shape] * item
    params = read / item - HEAD[shape]  # of a prompt's tokens, but the last
    lp, par = pairs + "@lp", pairs + "@par"
    where, devices = place
    one, two = f"{shape} {kind}, one GPU", f"{shape} {kind}, {where}"

    rows = bench(one, path, ["serial", lp, par])
    if not rows:
        return
    show_plans(one, rows)
    rate = rows["serial"]["decode"]["median"]
    say("  weights read while decoding",
        f"{read * rate / 1e9:.0f} GB/s, "
        f"{read * rate / 1e9 / limit['copy_gb_s']:.2f} of the copy bandwidth")
    flops = 2 * params * rows["serial"]["prefill"]["median"] / 1e12
    say("  products while prefilling",
        f"{flops:.0f} TFLOP/s, {flops / limit['gemm_tflop_s']:.2f} of "
        "cuBLASLt alone")
    plain = bench(f"{one}, without graphs", path, ["serial"],
                  env={"TLP_CUDA_GRAPHS": "0"})
    if plain:
        say("  decoding with graphs against without",
            f"{rate / plain['serial']['decode']['median']:.2f}")
    rows = bench(two, path, ["serial", lp, par], devices)
    if rows:
        show_plans(two, rows)
    if nccl and shape == "llama-3.2-1b":
        rows = bench(f"{two}, NCCL", path, ["serial", lp, par], devices, NCCL)
        if rows:
            show_plans(f"{two}, NCCL", rows)


def bench_models(limit, place, nccl):
    folder = os.environ.get("TLP_BENCH_DIR", "/tmp")
    for shape, kind, pairs in MODELS:
        path = os.path.join(folder, f"tlp-bench-{shape}-{kind}.gguf")
        try:
            made = run(f"{shape} {kind}, random weights",
                       [sys.executable,
                        os.path.join(SCRIPTS, "make-random-model.py"), shape,
                        path, "--type", kind])
            if made is not None:
                bench_model(path, shape, kind, pairs, limit, place, nccl)
        finally:
            if os.path.exists(path):
                os.remove(path)


def main():
    argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    n_gpu = count_gpus()
    if n_gpu == 0:
        if os.path.exists("/dev/nvidiactl"):
            print("FAILED: there is a GPU")
            return 1
        print("skipped: nothing is measured without a GPU")
        return 0
    for test in (*OPS, "test_cuda_models"):
        check(test, [os.path.join(BUILD, "test", test)], 60)
    greedy_text()
    limit = limits()
    place = ("two ranks on one GPU", "0,0")
    if n_gpu > 1:
        place = ("two GPUs", "0,1")
    nccl = show_allreduces(*place)
    if limit:
        bench_models(limit, place, nccl)
    sanitize_all()
    record()
    for what, all_of in (("skipped", skipped), ("FAILED", failed)):
        if all_of:
            print(f"{what}: {'; '.join(all_of)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
