#!/usr/bin/env python3
"""What a plan gains when its cut is baked into the file.

    python3 bench/quality-cut.py M.gguf --plan nosync@2:7f,25a --file F16 \\
        --calibration CAL.txt --text UNSEEN.txt --spread --folder out \\
        --results bench/results/quality.csv

Bakes the plan (tlp plan bake), fits adjustments to the baked file (with
--rank), and evaluates the plan on the other text against the serial model: in
the file's order of units (with --old), baked, and baked and adjusted.  The
folder keeps the files and the figures, so that an interrupted run goes on.
--results appends the figures to the history, from which quality-report.py
writes the page of results.
"""
import argparse
import hashlib
import json
import os
import re
import subprocess
import sys

import bench_record


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("model")
    p.add_argument("--plan", required=True, help="a plan in text form")
    p.add_argument("--file", required=True,
                   help="the model's name in the history")
    p.add_argument("--tlp", default="build/tlp")
    p.add_argument("--calibration", required=True, metavar="FILE")
    p.add_argument("--calibration-tokens", type=int, default=8192)
    p.add_argument("--rank", type=int, help="also adjust the baked plan")
    p.add_argument("--adjust-tokens", type=int, default=32768)
    p.add_argument("--text", required=True, help="text to evaluate on")
    p.add_argument("--max-tokens", type=int, default=8192)
    p.add_argument("--spread", action="store_true",
                   help="tokens from all over both texts")
    p.add_argument("--old", action="store_true",
                   help="also evaluate the plan in the file's own order")
    p.add_argument("--folder", required=True)
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--results", help="append to this history of results")
    return p.parse_args()


def output_of(a, *words):
    done = subprocess.run([a.tlp, *words], capture_output=True, text=True,
                          check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return done.stdout


def tlp(a, *words):
    return json.loads(output_of(a, *words, "--json", "--threads",
                                str(a.threads)))


def exchanges(a):
    shown = output_of(a, "plan", "show", "-m", a.model, "--plan", a.plan)
    return re.search(r"(\d+) exchanges per token", shown).group(1)


def text(a, path, n_token):
    spread = ["--spread"] if a.spread else []
    return ["--text", path, "--max-tokens", str(n_token), *spread]


def kept(path, make):
    """What `make` returned, from the file if it is there."""
    if not os.path.exists(path):
        result = make()
        with open(path + ".new", "w", encoding="utf-8") as f:
            json.dump(result, f)
        os.replace(path + ".new", path)
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def evaluate(a, model, plan, path):
    return kept(path, lambda: tlp(
        a, "eval", "-m", model, "--plan", plan, "--against", "serial",
        *text(a, a.text, a.max_tokens)))


def measure(a):
    name = hashlib.sha256(f"{a.file} {a.plan}".encode()).hexdigest()[:8]
    base = os.path.join(a.folder, name)
    model, plan, fitted = f"{base}.gguf", f"{base}.json", f"{base}-fit.json"
    keys = dict(exchanges=exchanges(a), file=a.file)
    rows = []
    if a.old:
        e = evaluate(a, a.model, a.plan, f"{base}-old.eval")
        rows += bench_record.eval_rows(e, **keys, units="in the file's order",
                                       adjusted=0, plan=a.plan)
    kept(f"{base}.bake", lambda: tlp(
        a, "plan", "bake", "-m", a.model, "--plan", a.plan, "-o", model,
        "--plan-out", plan, *text(a, a.calibration, a.calibration_tokens)))
    e = evaluate(a, model, plan, f"{base}.eval")
    rows += bench_record.eval_rows(e, **keys, units="baked", adjusted=0,
                                   plan=a.plan)
    if a.rank:
        kept(f"{base}.fit", lambda: tlp(
            a, "plan", "adjust", "-m", model, "--plan", plan, "--rank",
            str(a.rank), "-o", fitted,
            *text(a, a.calibration, a.adjust_tokens)))
        e = evaluate(a, model, fitted, f"{base}-fit.eval")
        rows += bench_record.eval_rows(e, **keys, units="baked", adjusted=1,
                                       plan=a.plan)
    return rows


def main():
    a = arguments()
    os.makedirs(a.folder, exist_ok=True)
    try:
        rows = measure(a)
    except RuntimeError as e:
        sys.exit(f"quality-cut: {e}")
    for case, value, *_ in rows:
        print(f"{value:8.4f}  {case}")
    if a.results:
        bench_record.append_rounded(a.results, "cut", rows)


if __name__ == "__main__":
    main()
