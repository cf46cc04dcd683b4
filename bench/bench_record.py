#!/usr/bin/env python3
"""Results of benchmarks as CSV, one row for each figure.

    tlp bench ... --json | bench_record.py plans.csv plans 'layout=2 ranks'

appends what `tlp bench` measured to a file, and prints it.  A case is a list of
KEY=VALUE with semicolons between.  Scripts import `append`.
"""
import csv
import datetime
import json
import os
import subprocess
import sys

COLUMNS = ["commit", "date", "machine", "benchmark", "case", "median", "min",
           "max", "unit"]


def output_of(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True,
                              check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def commit():
    """The commit of the sources, with + behind it where files differ."""
    name = output_of("git", "rev-parse", "--short=7", "HEAD")
    changed = output_of("git", "status", "--porcelain", "-uno")
    return (name or "unknown") + ("+" if changed else "")


def machine():
    """The CPU's name and the number of cores that this process may use."""
    name = "unknown CPU"
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            names = [line.split(":", 1)[1].strip() for line in f
                     if line.startswith("model name")]
        name = names[0] if names else name
    except OSError:
        pass
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def case_of(**keys):
    return "; ".join(f"{key}={value}" for key, value in keys.items())


def keys_of(case):
    return dict(part.split("=", 1) for part in case.split("; "))


def read(path):
    with open(path, newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def append(path, benchmark, rows, hardware=None):
    """Rows are (case, median, min, max, unit); None leaves a field empty."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    is_new = not os.path.exists(path)
    head = [commit(), datetime.date.today().isoformat(),
            hardware or machine(), benchmark]
    with open(path, "a", newline="", encoding="utf-8") as f:
        out = csv.writer(f, lineterminator="\n")
        if is_new:
            out.writerow(COLUMNS)
        for case, *values, unit in rows:
            out.writerow(head + [case] + ["" if v is None else f"{v:.6g}"
                                          for v in values] + [unit])


def price_rows(ratio, kl, top1, **keys):
    """Rows of the price of a plan.  `ratio` is a perplexity ratio with the ends
    of its interval or None for each, `top1` a share."""
    case = case_of(**keys)
    return [(f"{case}; measure=ratio", *ratio, "ratio"),
            (f"{case}; measure=kl", kl, None, None, "nats"),
            (f"{case}; measure=top1", 100 * top1, None, None, "%")]


def eval_rows(e, **keys):
    """Rows of what `tlp eval --against` printed with --json."""
    lo, hi = e["ppl_ratio_ci"] or (None, None)
    return price_rows((e["ppl_ratio"], lo, hi), e["kl_mean"],
                      e["top1_agreement"], **keys)


def append_rounded(path, benchmark, rows):
    """`append` with four significant digits."""
    append(path, benchmark, [
        (case, *(v if v is None else float(f"{v:.4g}") for v in values), unit)
        for case, *values, unit in rows])


def main():
    path, benchmark, case = sys.argv[1:]
    rows = []
    for plan in json.load(sys.stdin)["plans"]:
        for phase in ("prefill", "decode"):
            r = plan[phase]
            rows.append((f"{case}; {case_of(plan=plan['plan'], phase=phase)}",
                         r["median"], r["min"], r["max"], "tokens/s"))
        print(f"{case:10} prefill {plan['prefill']['median']:8.1f} "
              f"{plan['prefill_ratio']:5.2f}  decode "
              f"{plan['decode']['median']:8.1f} {plan['decode_ratio']:5.2f}"
              f"  {plan['plan']}")
    append(path, benchmark, rows)


if __name__ == "__main__":
    main()
