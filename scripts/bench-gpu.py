#!/usr/bin/env python3
"""Measure the CUDA backend on this machine's first GPU, in under ten minutes.

    make CUDA=1 && make bench-gpu

Checks come first (the tests on the GPU, compute-sanitizer where it is, the
greedy text of SmolLM2 against the CPU's), then times: decoding beside the copy
bandwidth, graphs against none, fused pairs against serial, two ranks on the one
GPU, prefill beside cuBLASLt alone.  Models of 7B and 1B shape are made with
random weights (numpy and gguf are needed) in TLP_BENCH_DIR (/tmp), and removed.
Without a GPU it says why and ends.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
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


def left():
    return BUDGET - (time.monotonic() - BEGIN)


def run(args, env=None, limit=None):
    """Status, output; None where there is no time left or it takes too long."""
    limit = min(left(), limit or left())
    if limit < 5:
        print(f"left out, ten minutes are over: {' '.join(args)}")
        return None, ""
    print("$", " ".join(args), flush=True)
    env = dict(os.environ, **(env or {}))
    try:
        p = subprocess.run(args, env=env, timeout=limit, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except subprocess.TimeoutExpired:
        print(f"did not end within {limit:.0f} s")
        return None, ""
    return p.returncode, p.stdout


def say(what, value):
    print(f"{what:52} {value}", flush=True)


def check(what, args, limit):
    rc, out = run(args, limit=limit)
    if rc is None:
        return True
    say(what, "passed" if rc == 0 else "FAILED")
    if rc:
        print(out[-3000:])
    return rc == 0


def find_gpu():
    p = subprocess.run([TLP, "info", "--devices"], text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    print(p.stdout.strip())
    return p.returncode == 0


def greedy_text():
    p = subprocess.run([os.path.join(HERE, "fetch-model.sh")], text=True,
                       stdout=subprocess.PIPE)
    if p.returncode:
        say("SmolLM2, greedy text in f32", "skipped: no model")
        return True
    texts = []
    for device in ("cpu", "cuda:0"):
        texts.append(run([TLP, "run", "-m", p.stdout.strip(), "--raw", "-n",
                          "64", "-p", "The capital of France is",
                          "--compute", "f32", "--device", device]))
    same = texts[0] == texts[1] and texts[0][0] == 0
    say("SmolLM2, greedy text of 64 tokens in f32",
        "equal" if same else f"DIFFERS: {texts}")
    return same


def limits():
    """GB/s of a copy, TFLOP/s of cuBLASLt in bf16 at prefill's shapes."""
    rc, out = run([os.path.join(BUILD, "test/bench/bench_device")])
    if rc != 0:
        print(out)
        return None
    x = json.loads(out)
    say("copy bandwidth", f"{x['copy_gb_s']:.0f} GB/s")
    say("cuBLASLt, bf16, 512 x 4096 x 11008",
        f"{x['gemm_tflop_s']:.0f} TFLOP/s")
    return x


def bench(path, plans, devices="0", env=None, prompt=512, gen=64):
    args = [TLP, "bench", "-m", path, "--json", "--prompt", str(prompt),
            "--gen", str(gen), "--repeat", "3", "--device", "cuda:" + devices]
    for p in plans:
        args += ["--plan", p]
    rc, out = run(args, env)
    if rc != 0:
        if rc is not None:
            print(out)
        return {}
    rows = json.loads(out)["plans"]
    return dict(zip(plans, rows))


def show_plans(what, rows):
    base = rows.get("serial")
    for plan, row in rows.items():
        d, p = row["decode"], row["prefill"]
        say(f"  {what}, {plan}",
            f"decode {d['median']:.1f} ({d['min']:.1f}-{d['max']:.1f}) "
            f"tokens/s, {d['median'] / base['decode']['median']:.2f}; prefill "
            f"{p['median']:.0f}, {p['median'] / base['prefill']['median']:.2f};"
            f" {row['allreduces_per_token']} all-reduces")


def bench_model(path, shape, kind, pairs, limit):
    size = os.path.getsize(path)
    item = {"BF16": 2, "Q4_0": 18 / 32}[kind]
    read = size - EMBEDDING[shape] * item
    params = read / item - HEAD[shape]  # of a prompt's tokens, but the last
    lp, par = pairs + "@lp", pairs + "@par"

    rows = bench(path, ["serial", lp, par])
    if not rows:
        return
    show_plans(f"{shape} {kind}, one GPU", rows)
    rate = rows["serial"]["decode"]["median"]
    say("  weights read while decoding",
        f"{read * rate / 1e9:.0f} GB/s, "
        f"{read * rate / 1e9 / limit['copy_gb_s']:.2f} of the copy bandwidth")
    flops = 2 * params * rows["serial"]["prefill"]["median"] / 1e12
    say("  products while prefilling",
        f"{flops:.0f} TFLOP/s, {flops / limit['gemm_tflop_s']:.2f} of "
        "cuBLASLt alone")
    plain = bench(path, ["serial"], env={"TLP_CUDA_GRAPHS": "0"})
    if plain:
        say("  decoding with graphs against without",
            f"{rate / plain['serial']['decode']['median']:.2f}")
    rows = bench(path, ["serial", lp, par], devices="0,0")
    if rows:
        show_plans(f"{shape} {kind}, two ranks on one GPU", rows)


def bench_models(limit):
    folder = os.environ.get("TLP_BENCH_DIR", "/tmp")
    for shape, kind, pairs in MODELS:
        path = os.path.join(folder, f"tlp-bench-{shape}-{kind}.gguf")
        try:
            rc, out = run([sys.executable,
                           os.path.join(HERE, "make-random-model.py"), shape,
                           path, "--type", kind])
            if rc == 0:
                bench_model(path, shape, kind, pairs, limit)
            elif rc is not None:
                print(out)
        finally:
            if os.path.exists(path):
                os.remove(path)


def main():
    argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    if not find_gpu():
        print("skipped: nothing is measured without a GPU")
        return 0
    good = True
    for test in ("test_cuda_ops", "test_cuda_models"):
        good &= check(test, [os.path.join(BUILD, "test", test)], 60)
    if shutil.which("compute-sanitizer"):
        good &= check("compute-sanitizer, test_cuda_ops",
                      ["compute-sanitizer", "--target-processes", "all",
                       "--error-exitcode", "9",
                       os.path.join(BUILD, "test", "test_cuda_ops")], 90)
    else:
        say("compute-sanitizer", "skipped: not installed")
    good &= greedy_text()
    limit = limits()
    if limit:
        bench_models(limit)
    return 0 if good and limit else 1


if __name__ == "__main__":
    sys.exit(main())
