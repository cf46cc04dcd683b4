#!/usr/bin/env python3
"""Write the declarations of the public headers for cffi, or check them.

    python3 scripts/make-cdef.py            writes bindings/python/libtlp/tlp.cdef
    python3 scripts/make-cdef.py --check    fails if that file is out of date
"""
import argparse
import os
import re
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
OUT = os.path.join(ROOT, "bindings", "python", "libtlp", "tlp.cdef")
HEADERS = ["tlp.h", "tlp_tune.h", "tlp_eval.h"]
NUMBERS = ["TLP_VERSION_MAJOR", "TLP_VERSION_MINOR", "TLP_VERSION_PATCH",
           "TLP_ABI_VERSION", "TLP_N_DRILL"]


def declarations():
    """The headers without comments, macros and the system's headers."""
    text, numbers = "", []
    for name in HEADERS:
        with open(os.path.join(ROOT, "include", name), encoding="utf-8") as f:
            header = f.read()
        for number in NUMBERS:
            found = re.search(rf"^#define {number} (\d+)", header, re.M)
            if found:
                numbers.append(f"#define {number} {found[1]}")
        text += re.sub(r"^#include.*$", "", header, flags=re.M)
    done = subprocess.run([os.environ.get("CC", "cc"), "-E", "-P", "-U__GNUC__",
                           "-U__clang__", "-x", "c", "-"], input=text,
                          stdout=subprocess.PIPE, text=True, check=True)
    lines = [line.strip() if not line.startswith(" ") else line.rstrip()
             for line in done.stdout.splitlines() if line.strip()]
    lines = [re.sub(r"^ (?=\S)", "", line).rstrip() for line in lines]
    return "\n".join(["/* Made by scripts/make-cdef.py from include/. */",
                      *numbers, *lines]) + "\n"


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--check", action="store_true")
    a = p.parse_args()
    text = declarations()
    if not a.check:
        with open(OUT, "w", encoding="utf-8") as f:
            f.write(text)
        return
    with open(OUT, encoding="utf-8") as f:
        if f.read() != text:
            sys.exit("bindings/python/libtlp/tlp.cdef differs from the headers:"
                     " run scripts/make-cdef.py")


if __name__ == "__main__":
    main()
