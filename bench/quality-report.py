#!/usr/bin/env python3
"""Write docs/quality-results.md, and draw its front of plans and its curves
of trainings, from bench/results/quality.csv.

    python3 bench/quality-report.py

The prose is in quality-results.md.in; a line {{NAME}} there becomes a table.
The pictures need matplotlib.
"""
import os

import bench_plot
import bench_record

HERE = os.path.dirname(os.path.abspath(__file__))
HISTORY = os.path.join(HERE, "results", "quality.csv")
TEMPLATE = os.path.join(HERE, "quality-results.md.in")
PAGE = os.path.join(HERE, "..", "docs", "quality-results.md")
IMAGES = os.path.join(HERE, "..", "docs", "img")

# NAME: the benchmark, the keys that make a row, the key that makes a column
TABLES = {
    "plans": ("quality-plans", ["plan"], "measure"),
    "drill": ("quality-drill", ["task"], "plan"),
    "drill adjusted": ("quality-drill-adjusted", ["task"], "plan"),
    "study": ("quality-study", ["kind"], "length"),
    "front": ("front", ["depth", "allreduces", "plan"], "measure"),
    "exchanges": ("exchanges", ["exchanges", "objective", "plan"], "measure"),
    "calibration": ("calibration", ["chosen", "text"], "measure"),
    "tracks": ("track-number", ["exchanges", "tracks"], "measure"),
    "amount": ("adjust-tracks", ["exchanges", "text", "tokens", "rank",
                                 "norms"],
               "measure"),
    "polished": ("polished", ["exchanges", "gain in standard errors", "plan"],
                 "measure"),
    "baked": ("baked", ["file", "units"], "measure"),
    "cut": ("cut", ["exchanges", "file", "units"], "measure"),
    "recovery": ("recovery", ["plan", "text", "state"], "measure"),
    "recipes": ("recipe", ["text", "state"], "measure"),
    "drill recipes": ("drill-recipe", ["plan", "state"], "task"),
    "drill recovery": ("drill-recovery", ["plan", "state"], "task"),
    "rival": ("rival", ["exchanges", "maps", "plan"], "measure"),
    "objective": ("quality-objective", ["chosen", "on"], "measure"),
    "text": ("quality-text", ["text"], "measure"),
    "file": ("quality-file", ["file"], "measure"),
    "gemma3 places": ("gemma3-places", ["layer"], "change"),
    "gemma3 rounding": ("gemma3-rounding", ["activations", "cache"],
                        "measure"),
    "oracle": ("oracle", ["plan"], "compute"),
}


def cell_of(row, keys):
    text = row["median"]
    if row["min"]:
        text += f" [{row['min']}, {row['max']}]"
    if "layers" in keys:
        text += f" ({keys['layers']}, depth {keys['depth']})"
    return text


def column_of(row, keys, column):
    name = keys[column].replace("kl", "KL").replace("top1", "top-1")
    if keys.get("adjusted") == "1":
        name = f"adjusted: {name}"
    return name + (", %" if row["unit"] == "%" and column == "measure" else "")


def table(name):
    """Later rows of the history take the place of earlier ones."""
    benchmark, row_keys, column = TABLES[name]
    rows, columns = {}, {}
    for row in bench_record.read(HISTORY):
        if row["benchmark"] != benchmark:
            continue
        keys = bench_record.keys_of(row["case"])
        head = column_of(row, keys, column)
        columns[head] = True
        cells = rows.setdefault(tuple(keys[k] for k in row_keys), {})
        cells[head] = cell_of(row, keys)
    lines = [row_keys + list(columns), ["---"] * (len(row_keys) + len(columns))]
    lines += [list(key) + [cells.get(c, "") for c in columns]
              for key, cells in rows.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def draw_front():
    rows = {}
    for row in bench_record.read(HISTORY):
        if row["benchmark"] != "front":
            continue
        keys = bench_record.keys_of(row["case"])
        measure = keys.pop("measure")
        point = rows.setdefault((keys["plan"], keys["adjusted"]), dict(keys))
        point[measure] = row["median"]
        if measure == "ratio":
            point["ratio_lo"] = row["min"] or row["median"]
            point["ratio_hi"] = row["max"] or row["median"]
    bench_plot.front(list(rows.values()),
                     os.path.join(IMAGES, "front-smollm2.svg"))


def draw_curves(benchmark, file, log=False):
    curves = {}
    for row in bench_record.read(HISTORY):
        if row["benchmark"] != benchmark:
            continue
        keys = bench_record.keys_of(row["case"])
        name = ", ".join(k for k in (keys["plan"], keys["recipe"]) if k)
        curves.setdefault(name, {})[int(keys["tokens"])] = float(row["median"])
    bench_plot.recovery([(name, list(points), list(points.values()))
                         for name, points in curves.items()],
                        os.path.join(IMAGES, file), log)


def main():
    with open(TEMPLATE, encoding="utf-8") as f:
        page = f.read()
    for name in TABLES:
        page = page.replace("{{" + name + "}}", table(name))
    with open(PAGE, "w", encoding="utf-8") as f:
        f.write(page)
    draw_front()
    draw_curves("recovery-curve", "recovery-smollm2.svg")
    draw_curves("recipe-curve", "recipes-smollm2.svg", log=True)


if __name__ == "__main__":
    main()
