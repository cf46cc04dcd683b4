#!/usr/bin/env python3
"""The Pareto front of a model on text that it was not planned on.

    tlp plan make -m M.gguf --text CAL.txt --max-tokens 4096 --depth 15 \\
        --pareto front.csv -o p.json
    python3 bench/quality-front.py M.gguf front.csv --calibration CAL.txt \\
        --text UNSEEN.txt --csv unseen.csv --svg unseen.svg \\
        --results bench/results/quality.csv

Every plan of front.csv is evaluated on the other text against the serial model,
as it is and adjusted (fitted on the calibration text).  Rows that the CSV has
are kept, so that an interrupted run goes on.  --results appends the figures to
the history, from which quality-report.py writes the page of results.  --svg
needs matplotlib.

With --exchanges the plans are those of a search that left out exchanges
(tlp plan make --exchanges); their adjustments are low-rank corrections alone.
"""
import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile

import bench_plot
import bench_record

FIELDS = ["depth", "allreduces", "exchanges", "adjusted", "ppl", "ratio",
          "ratio_lo", "ratio_hi", "kl", "kl_p99", "top1", "plan"]


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("model")
    p.add_argument("front", help="what tlp plan make --pareto wrote")
    p.add_argument("--tlp", default="build/tlp")
    p.add_argument("--calibration", metavar="FILE",
                   help="text to fit adjustments on; without it there are none")
    p.add_argument("--calibration-tokens", type=int, default=4096)
    p.add_argument("--rank", type=int, default=32)
    p.add_argument("--text", required=True, help="text to evaluate on")
    p.add_argument("--max-tokens", type=int, default=4096)
    p.add_argument("--spread", action="store_true",
                   help="tokens from all over both texts")
    p.add_argument("--depths", help="some of them, with commas")
    p.add_argument("--exchanges",
                   help="some numbers of exchanges, with commas")
    p.add_argument("--objective", default="both",
                   help="of plan make, for the history of --exchanges")
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--compute", default="default")
    p.add_argument("--csv", required=True)
    p.add_argument("--results", help="append to this history of results")
    p.add_argument("--svg")
    return p.parse_args()


def tlp(a, *words):
    done = subprocess.run(
        [a.tlp, *words, "-m", a.model, "--json", "--threads", str(a.threads),
         "--compute", a.compute],
        capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout)


def text(a, path, n_token):
    spread = ["--spread"] if a.spread else []
    return ["--text", path, "--max-tokens", str(n_token), *spread]


def measure(a, point, plan, adjusted):
    e = tlp(a, "eval", *text(a, a.text, a.max_tokens), "--plan", plan,
            "--against", "serial")
    lo, hi = e["ppl_ratio_ci"] or (e["ppl_ratio"], e["ppl_ratio"])
    return dict(depth=e["effective_depth"],
                allreduces=point["allreduces_2_ranks"],
                exchanges=point.get("exchanges_2_ranks", ""),
                adjusted=int(adjusted), ppl=e["ppl"], ratio=e["ppl_ratio"],
                ratio_lo=lo, ratio_hi=hi, kl=e["kl_mean"], kl_p99=e["kl_p99"],
                top1=e["top1_agreement"], plan=point["plan"])


def adjust(a, plan, out):
    """False where the tool refuses: nothing helps."""
    try:
        tlp(a, "plan", "adjust", "--plan", plan,
            *text(a, a.calibration, a.calibration_tokens),
            *([] if a.exchanges else ["--gains", "--norms"]),
            "--rank", str(a.rank), "-o", out)
    except RuntimeError as e:
        print(f"not adjusted: {e}", file=sys.stderr)
        return False
    return True


def read_rows(path):
    if not os.path.exists(path):
        return []
    with open(path, newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def write_rows(path, rows):
    rows.sort(key=lambda r: (-int(r["depth"]), -int(r.get("exchanges") or 0),
                             int(r["adjusted"])))
    with open(path, "w", newline="", encoding="utf-8") as f:
        out = csv.DictWriter(f, FIELDS)
        out.writeheader()
        out.writerows(rows)


def fill(a, rows, points):
    have = {(r["plan"], int(r["adjusted"])) for r in rows}
    for point in points:
        plan = point["plan"]
        if (plan, 0) not in have:
            rows.append(measure(a, point, plan, False))
            write_rows(a.csv, rows)
        if not a.calibration or plan == "serial" or (plan, 1) in have:
            continue
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "p.json")
            if adjust(a, plan, out):
                rows.append(measure(a, point, out, True))
                write_rows(a.csv, rows)


def record(rows, path, by_exchanges, objective):
    figures = []
    for r in rows:
        if by_exchanges:
            keys = dict(exchanges=r["exchanges"], objective=objective,
                        adjusted=r["adjusted"], plan=r["plan"])
        else:
            keys = dict(depth=r["depth"], allreduces=r["allreduces"],
                        adjusted=r["adjusted"], plan=r["plan"])
        ratio = [float(r[k]) for k in ("ratio", "ratio_lo", "ratio_hi")]
        figures += bench_record.price_rows(ratio, float(r["kl"]),
                                           float(r["top1"]), **keys)
    bench_record.append_rounded(
        path, "exchanges" if by_exchanges else "front", figures)


def main():
    a = arguments()
    with open(a.front, newline="", encoding="utf-8") as f:
        points = list(csv.DictReader(f))
    if a.depths:
        some = a.depths.split(",")
        points = [p for p in points if p["depth"] in some]
    if a.exchanges:
        some = a.exchanges.split(",")
        points = [p for p in points if p["exchanges_2_ranks"] in some]
    rows = read_rows(a.csv)
    try:
        fill(a, rows, points)
    except RuntimeError as e:
        sys.exit(f"quality-front: {e}")
    if a.results:
        record(rows, a.results, bool(a.exchanges), a.objective)
    if a.svg:
        bench_plot.front(rows, a.svg)


if __name__ == "__main__":
    main()
