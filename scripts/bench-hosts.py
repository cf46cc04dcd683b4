#!/usr/bin/env python3
"""bench-hosts.py CSV SVG JSON... - what bench-hosts.sh measured, as a table on
standard output, a CSV file and, where matplotlib is installed, a plot."""

import csv
import json
import sys

import bench_plot

COLUMNS = [
    "link", "delay_us", "one_way_us", "wire", "plan", "mode", "pairs",
    "allreduces_per_token", "decode", "decode_min", "decode_max",
    "decode_ratio", "prefill", "prefill_min", "prefill_max", "prefill_ratio",
]
LINKS = ["process", "veth", "tun"]


def rows_of(path):
    with open(path) as f:
        result = json.load(f)
    for plan in result["bench"]["plans"]:
        mode, _, groups = plan["plan"].partition(":")
        row = {key: result[key]
               for key in ("link", "delay_us", "one_way_us", "wire")}
        row.update(plan=plan["plan"], mode=mode,
                   pairs=len(groups.split(",")) if groups else 0,
                   allreduces_per_token=plan["allreduces_per_token"])
        for phase in ("decode", "prefill"):
            row[phase] = plan[phase]["median"]
            row[phase + "_min"] = plan[phase]["min"]
            row[phase + "_max"] = plan[phase]["max"]
            row[phase + "_ratio"] = plan[phase + "_ratio"]
        yield row


def name_of(row):
    return row["mode"] + (f" {row['pairs']}" if row["pairs"] else "")


def print_table(rows):
    print(f"{'link':8}{'delay':>6}{'one-way':>9}  {'plan':8}{'all-red.':>8}"
          f"{'decode/s':>10}{'ratio':>7}{'prefill/s':>11}{'ratio':>7}")
    for r in rows:
        print(f"{r['link']:8}{r['delay_us']:6}{r['one_way_us']:9.1f}"
              f"  {name_of(r):8}{r['allreduces_per_token']:8}"
              f"{r['decode']:10.1f}{r['decode_ratio']:7.3f}"
              f"{r['prefill']:11.1f}{r['prefill_ratio']:7.3f}")


def plot(rows, path):
    plt = bench_plot.pyplot()
    if not plt:
        return
    colours = {"serial": "black", "lp": "tab:blue", "asym": "tab:green",
               "par": "tab:red"}
    figure, axes = plt.subplots(2, 2, figsize=(10, 7), sharex=True)
    lines = {}
    for row in rows:
        if row["link"] == "tun":
            lines.setdefault(name_of(row), []).append(row)
    times = sorted({r["one_way_us"] for line in lines.values() for r in line})
    for name, line in lines.items():
        style = {"color": colours.get(line[0]["mode"]), "marker": ".",
                 "linestyle": "--" if line[0]["pairs"] == 4 else "-"}
        x = [r["one_way_us"] for r in line]
        for column, phase in enumerate(("decode", "prefill")):
            middle = [r[phase] for r in line]
            below = [r[phase] - r[phase + "_min"] for r in line]
            above = [r[phase + "_max"] - r[phase] for r in line]
            axes[0][column].errorbar(x, middle, yerr=[below, above], capsize=2,
                                     label=name, **style)
            axes[1][column].plot(x, [r[phase + "_ratio"] for r in line],
                                 label=name, **style)
    for column, phase in enumerate(("decode", "prefill")):
        axes[0][column].set_title(phase)
        axes[1][column].set_xlabel("one-way time of the link, us")
        for axis in axes[0][column], axes[1][column]:
            axis.set_xscale("log")
            axis.minorticks_off()
            axis.set_xticks(times, [f"{x:.0f}" for x in times])
            axis.grid(True, alpha=0.3)
    axes[0][0].set_ylabel("tokens/s")
    axes[1][0].set_ylabel("speed-up over serial")
    axes[0][0].set_ylim(bottom=0)
    axes[0][1].set_ylim(bottom=0)
    axes[1][0].legend(title="plan, pairs")
    bench_plot.save(figure, path)


def main():
    csv_path, svg_path, *results = sys.argv[1:]
    rows = [row for path in results for row in rows_of(path)]
    rows.sort(key=lambda r: (LINKS.index(r["link"]), r["delay_us"]))
    with open(csv_path, "w", newline="") as f:
        writer = csv.DictWriter(f, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    print_table(rows)
    plot(rows, svg_path)


if __name__ == "__main__":
    main()
