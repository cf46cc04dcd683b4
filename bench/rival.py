#!/usr/bin/env python3
"""Dropped layers, and dropped layers with linear maps in their place, at the
exchanges of other plans.

    python3 bench/rival.py M.gguf --fit FIT.txt --judge OTHER.txt \\
        --layers 6,12,15 --csv rival.csv --results bench/results/quality.csv

Layers are dropped one after the other, the cheapest first: each step takes the
layer whose loss adds least to the KL divergence on a part of the fit text.  As
a layer seldom becomes cheaper when others are gone, a step looks again only at
the layers that were cheapest before.  Each number of layers in --layers is then
judged on the other text (tlp study --bridge).  A dropped layer saves two
exchanges of a token.
"""
import argparse
import csv
import json
import subprocess

import bench_record

AGAIN = 6  # candidates of a step that are measured again

FIELDS = ["layers", "exchanges", "mapped", "ppl", "ratio", "kl", "top1", "plan"]


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("model")
    p.add_argument("--tlp", default="build/tlp")
    p.add_argument("--fit", required=True, help="text to choose and fit on")
    p.add_argument("--fit-tokens", type=int, default=32768)
    p.add_argument("--choose-tokens", type=int, default=2048)
    p.add_argument("--judge", required=True, help="text to judge on")
    p.add_argument("--judge-tokens", type=int, default=8192)
    p.add_argument("--layers", default="6,12,15")
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--csv", required=True)
    p.add_argument("--results", help="append to this history of results")
    return p.parse_args()


def tlp(a, *words):
    done = subprocess.run([a.tlp, *words, "-m", a.model, "--json"],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout)


def threads(a):
    return ["--threads", str(a.threads)]


def plan_of(dropped):
    if not dropped:
        return "serial"
    return "drop:" + ",".join(str(i) for i in sorted(dropped))


def kl_of(a, dropped):
    e = tlp(a, "eval", *threads(a), "--text", a.fit, "--spread", "--max-tokens",
            str(a.choose_tokens), "--plan", plan_of(dropped),
            "--against", "serial")
    return e["kl_mean"]


def choose(a, n_layer, n):
    """The layers to drop, in the order in which they are dropped."""
    dropped, known = [], {i: kl_of(a, [i]) for i in range(n_layer)}
    while len(dropped) < n:
        first = sorted(known, key=known.get)[:AGAIN] if dropped else \
            [min(known, key=known.get)]
        for i in first:
            known[i] = kl_of(a, [*dropped, i]) if dropped else known[i]
        best = min(first, key=known.get)
        dropped.append(best)
        print(f"{plan_of(dropped)}: KL {known.pop(best):.4f}", flush=True)
    return dropped


def measure(a, dropped, n_layer, serial):
    r = tlp(a, "study", *threads(a), "--bridge", plan_of(dropped),
            "--text", a.fit, "--spread", "--max-tokens", str(a.fit_tokens), "--judge", a.judge,
            "--judge-tokens", str(a.judge_tokens))
    return [dict(layers=len(dropped), exchanges=2 * (n_layer - len(dropped)),
                 mapped=mapped, ppl=r[f"ppl_{when}"],
                 ratio=r[f"ppl_{when}"] / serial, kl=r[f"kl_{when}"],
                 top1=r[f"top1_{when}"], plan=plan_of(dropped))
            for mapped, when in ((0, "before"), (1, "after"))]


def record(rows, path):
    figures = []
    for r in rows:
        figures += bench_record.price_rows(
            (r["ratio"], None, None), r["kl"], r["top1"],
            exchanges=r["exchanges"], maps="yes" if r["mapped"] else "no",
            plan=r["plan"])
    bench_record.append_rounded(path, "rival", figures)


def main():
    a = arguments()
    n_layer = tlp(a, "info")["model"]["n_layer"]
    wanted = sorted(int(n) for n in a.layers.split(","))
    dropped = choose(a, n_layer, wanted[-1])
    serial = tlp(a, "eval", *threads(a), "--text", a.judge, "--spread",
                 "--max-tokens", str(a.judge_tokens))["ppl"]
    rows = []
    for n in wanted:
        rows += measure(a, dropped[:n], n_layer, serial)
        with open(a.csv, "w", newline="", encoding="utf-8") as f:
            out = csv.DictWriter(f, FIELDS)
            out.writeheader()
            out.writerows(rows)
    if a.results:
        record(rows, a.results)


if __name__ == "__main__":
    main()
