#!/usr/bin/env python3
"""bench-hosts.py CSV SVG [JSON...] - plans on two hosts.

Appends what bench-hosts.sh measured (JSON) to the CSV, prints the table of that
file's newest figures and draws it.  Without JSON it prints and draws only:

    bench/bench-hosts.py bench/results/hosts.csv docs/img/two-hosts.svg
"""
import json
import sys

import bench_plot
import bench_record

LINKS = ["process", "veth", "tun"]


def name_of(plan):
    """"par 8": eight pairs; "nosync 36": 36 exchanges a token; "file 36": 36
    exchanges a token of a plan from a file, such as an adjusted plan."""
    text = plan["plan"]
    mode, _, groups = text.partition(":")
    if text.endswith(".json"):
        return f"file {plan['exchanges_per_token']}"
    if mode.startswith("nosync"):
        return f"nosync {plan['exchanges_per_token']}"
    return f"{mode} {len(groups.split(','))}" if groups else mode


def figures_of(path):
    with open(path, encoding="utf-8") as f:
        result = json.load(f)
    errors = {p["plan"]: p for p in result["bench"].get("predictions", [])
              if "decode_error_percent" in p}
    for plan in result["bench"]["plans"]:
        name = name_of(plan)
        keys = dict(link=result["link"],
                    one_way_us=f"{result['one_way_us']:.0f}", plan=name,
                    allreduces=plan["allreduces_per_token"])
        if result["wire"] != "f32":
            keys["wire"] = result["wire"]
        if result["bench"]["n_rank"] != 2:
            keys["ranks"] = result["bench"]["n_rank"]
        for phase in ("decode", "prefill"):
            r = plan[phase]
            case = bench_record.case_of(**keys, phase=phase)
            yield case, r["median"], r["min"], r["max"], "tokens/s"
            if plan["plan"] in errors:
                yield (case, errors[plan["plan"]][f"{phase}_error_percent"],
                       None, None, "% predicted above measured")


def points_of(path):
    """{(link, one-way time): {(plan, phase): row}} of the file's last run."""
    rows = [(row, bench_record.keys_of(row["case"]))
            for row in bench_record.read(path)
            if row["benchmark"] == "hosts" and row["unit"] == "tokens/s"]
    rows = [(row, keys) for row, keys in rows if "wire" not in keys]
    last, last_keys = rows[-1]
    points = {}
    for row, keys in rows:
        if (any(row[k] != last[k] for k in ("commit", "date", "machine"))
                or keys.get("ranks") != last_keys.get("ranks")):
            continue
        where = keys["link"], float(keys["one_way_us"])
        row = {k: float(row[k]) for k in ("median", "min", "max")}
        row["allreduces"] = int(keys["allreduces"])
        points.setdefault(where, {})[keys["plan"], keys["phase"]] = row
    return dict(sorted(points.items(), key=lambda p: (LINKS.index(p[0][0]),
                                                      p[0][1])))


def print_table(points):
    print("| link | one-way time, us | plan | all-reduces a token "
          "| decode | ratio | prefill | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for (link, us), rows in points.items():
        for plan in dict.fromkeys(name for name, phase in rows):
            cells = [link, f"{us:.0f}", f"`{plan}`",
                     str(rows[plan, "decode"]["allreduces"])]
            for phase in ("decode", "prefill"):
                r = rows[plan, phase]
                base = rows["serial", phase]["median"]
                cells += [f"{r['median']:.4g} ({r['min']:.4g}-{r['max']:.4g})",
                          f"{r['median'] / base:.2f}"]
            print(f"| {' | '.join(cells)} |")


def plot(points, path):
    plt = bench_plot.pyplot()
    if not plt:
        return
    colours = {"serial": "black", "lp": "tab:blue", "asym": "tab:green",
               "par": "tab:red", "nosync": "tab:purple", "file": "tab:orange"}
    figure, axes = plt.subplots(2, 2, figsize=(10, 7), sharex=True)
    links = {us: rows for (link, us), rows in points.items() if link == "tun"}
    times = sorted(links)
    for name in dict.fromkeys(n for rows in links.values() for n, _ in rows):
        style = {"color": colours.get(name.split()[0]), "marker": ".",
                 "linestyle": "--" if name.endswith(" 4") else "-"}
        for column, phase in enumerate(("decode", "prefill")):
            rows = [links[us][name, phase] for us in times]
            middle = [r["median"] for r in rows]
            below = [r["median"] - r["min"] for r in rows]
            above = [r["max"] - r["median"] for r in rows]
            axes[0][column].errorbar(times, middle, yerr=[below, above],
                                     capsize=2, label=name, **style)
            axes[1][column].plot(times, [
                r["median"] / links[us]["serial", phase]["median"]
                for us, r in zip(times, rows)], label=name, **style)
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
    figures = [figure for path in results for figure in figures_of(path)]
    if figures:
        bench_record.append(csv_path, "hosts", figures)
    points = points_of(csv_path)
    print_table(points)
    plot(points, svg_path)


if __name__ == "__main__":
    main()
