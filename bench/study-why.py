#!/usr/bin/env python3
"""What single exchanges and pairs cost, and why, for the history of results.

    tlp study --why -m M.gguf --text T.txt --spread --max-tokens 2048 --json |
        bench/study-why.py bench/results/why.csv

appends a row for each measure of each place, and for each rank correlation.
"""
import json
import sys

import bench_record

MEASURES = [("step", "ratio"), ("own", "ratio"), ("change", "ratio"),
            ("error", "ratio"), ("sensitivity", "nats"), ("kl_mean", "nats")]


def rows_of(study):
    text = {"tokens": study["tokens"], "ctx": study["ctx"],
            "tracks": study["tracks"]}
    for place in study["places"]:
        for name, unit in MEASURES:
            case = bench_record.case_of(**text, plan=place["plan"],
                                        measure=name)
            yield case, place[name], None, None, unit
    for kind, numbers in study["rank_correlation"].items():
        for name in sorted(numbers.keys() - {"n"}):
            case = bench_record.case_of(**text, kind=kind,
                                        rank_correlation=name)
            yield case, numbers[name], None, None, "rho"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    bench_record.append(sys.argv[1], "why", rows_of(json.load(sys.stdin)))


if __name__ == "__main__":
    main()
