#!/usr/bin/env python3
"""What training gives back of what a plan costs, on several texts.

    python3 bench/quality-train.py M.gguf --plan nosync@2:7f,25a --name 58 \\
        --fit CAL.txt --train-tokens 300000 --judge WikiText-2=UNSEEN.txt \\
        --judge Python=python.txt --folder out --results bench/results/quality.csv

Adjusts the plan (tlp plan adjust), trains all matrices, norms and corrections
of the layers that it changes (tlp plan train), and judges the plan, the
adjusted plan and the trained plan against the serial model of M.gguf: on the
texts, and with --generate on copying and adding.  Options behind -- train in
another way, and --recipe names it:

    ... --recipe "own text" -- --full --self 65536

The folder keeps files and figures, so that an interrupted run goes on.
--results appends the figures and the validations of the training to the
history, from which quality-report.py writes the page of results.
"""
import argparse
import csv
import json
import os
import subprocess
import sys

import bench_record


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("model")
    p.add_argument("--plan", required=True)
    p.add_argument("--name", required=True,
                   help="of the plan, for files and for the history")
    p.add_argument("--tlp", default="build/tlp")
    p.add_argument("--fit", required=True, metavar="FILE",
                   help="text to adjust and to train on")
    p.add_argument("--valid", metavar="FILE",
                   help="text of the validations, so that recipes can be "
                   "compared (windows of the training's text)")
    p.add_argument("--adjust-tokens", type=int, default=32768)
    p.add_argument("--rank", type=int, default=128)
    p.add_argument("--groups", action="store_true",
                   help="also adjust gains and norms, as groups need")
    p.add_argument("--recipe", default="",
                   help="name of the training, for a plan with several")
    p.add_argument("--train-tokens", type=int, required=True)
    p.add_argument("--rate", default="4e-5")
    p.add_argument("--judge", action="append", required=True,
                   metavar="NAME=FILE", help="text to judge on")
    p.add_argument("--judge-tokens", type=int, default=8192,
                   help="spread over the text, or all of it")
    p.add_argument("--generate", type=int, default=0, metavar="N",
                   help="also N prompts of each kind of copying and adding")
    p.add_argument("--folder", required=True)
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--benchmark", default="recovery",
                   help="name in the history (recovery; recipe: to compare "
                   "recipes for one plan)")
    p.add_argument("--results", help="append to this history of results")
    p.epilog = ("Words behind -- are options of tlp plan train, in place of "
                "--full --text FIT --self 16384.")
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    a = p.parse_args(words[:end])
    a.more = words[end + 1:] or ["--full", "--text", a.fit, "--self", "16384"]
    return a


def kept(a, path, *words):
    """What the tool prints with --json, from the file if it is there."""
    if not os.path.exists(path):
        done = subprocess.run([a.tlp, *words, "--json", "--threads",
                               str(a.threads)], stdout=subprocess.PIPE,
                              text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"tlp {' '.join(words[:2])} failed")
        with open(path + ".new", "w", encoding="utf-8") as f:
            f.write(done.stdout)
        os.replace(path + ".new", path)
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def fit(a, base):
    """The states of the plan: name, model, plan; and the training's report and
    validations."""
    groups = ["--gains", "--norms"] if a.groups else []
    kept(a, f"{base}-adj.out", "plan", "adjust", "-m", a.model, "--plan",
         a.plan, "--text", a.fit, "--spread", "--max-tokens",
         str(a.adjust_tokens), "--rank", str(a.rank), *groups, "-o",
         f"{base}-adj.json")
    out = f"{base}-{a.recipe or 'tr'}"
    valid = ["--held-out-text", a.valid, "--held-out-tokens", "4096"] \
        if a.valid else ["--held-out", "0.02"]
    report = kept(a, f"{out}.out", "plan", "train", "-m", a.model,
                  "--plan", f"{base}-adj.json", "--norms", "--corrections",
                  "--ctx", "256", *valid, "--rate", a.rate,
                  "--memory", "3000", "--train-tokens", str(a.train_tokens),
                  "--resume", f"{out}.state", "--csv", f"{out}.csv",
                  "--svg", f"{out}.svg", "-o", f"{out}.json",
                  "--model-out", f"{out}.gguf", *a.more)
    trained = f"trained, {a.recipe}" if a.recipe else "trained"
    return [("the plan", a.model, a.plan),
            ("adjusted", a.model, f"{base}-adj.json"),
            (trained, f"{out}.gguf", f"{out}.json")], report, f"{out}.csv"


def curve(a, path):
    """Rows of the validations: KL against the tokens trained on."""
    with open(path, newline="", encoding="utf-8") as f:
        return [(bench_record.case_of(plan=a.name, recipe=a.recipe,
                                      tokens=point["tokens"]),
                 float(point["kl"]), None, None, "nats")
                for point in csv.DictReader(f)]


def judge(a, base, state, model, plan):
    """Rows of both kinds, of texts and of prompts."""
    against = ["eval", "-m", model, "--plan", plan, "--against-model", a.model]
    tag = f"{base}-{state.replace(' ', '-')}"
    texts, drills = [], []
    for item in a.judge:
        name, _, path = item.partition("=")
        e = kept(a, f"{tag}-{name}.eval", *against, "--text", path, "--spread",
                 "--max-tokens", str(a.judge_tokens))
        texts += bench_record.eval_rows(e, plan=a.name, state=state, text=name)
    if a.generate:
        e = kept(a, f"{tag}-drill.eval", *against, "--generate",
                 str(a.generate))
        for kind in e["kinds"]:
            case = bench_record.case_of(task=kind["kind"], plan=a.name,
                                        state=state)
            drills.append((case, 100 * kind["exact_match"], None, None, "%"))
            if state == "the plan":
                case = bench_record.case_of(task=kind["kind"], plan="serial",
                                            state="")
                drills.append((case, 100 * kind["reference_exact_match"], None,
                               None, "%"))
    return texts, drills


def main():
    a = arguments()
    os.makedirs(a.folder, exist_ok=True)
    base = os.path.join(a.folder, a.name)
    texts, drills = [], []
    try:
        states, report, points = fit(a, base)
        for state, model, plan in states:
            more = judge(a, base, state, model, plan)
            texts += more[0]
            drills += more[1]
    except RuntimeError as e:
        sys.exit(f"quality-train: {e}")
    tokens = [(bench_record.case_of(plan=a.name, recipe=a.recipe),
               report["tokens"], None, None, "tokens")]
    for name, value, *_ in texts + drills + tokens:
        print(f"{value:9.4f}  {name}")
    if a.results:
        bench_record.append_rounded(a.results, a.benchmark, texts)
        bench_record.append_rounded(a.results, f"drill-{a.benchmark}", drills)
        bench_record.append(a.results, f"{a.benchmark}-tokens", tokens)
        bench_record.append_rounded(a.results, f"{a.benchmark}-curve",
                                    curve(a, points))


if __name__ == "__main__":
    main()
