#!/usr/bin/env python3
"""check-headers.py [--frozen FOLDER] LIBRARY - can bindings read the headers,
and do they keep the frozen interface of this ABI?

The script reads the public headers as a binding generator does: after the C
preprocessor alone.  Every enumerator must have a plain number.  With pycparser
the declarations must parse; with cffi they must describe the library.  Frozen
structs must be prefixes of today's structs; frozen enumerators and functions
must be unchanged.
"""
import os
import re
import subprocess
import sys
import tempfile

HEADERS = ["tlp.h", "tlp_tune.h", "tlp_eval.h"]
SYSTEM = ["stddef.h", "stdint.h"]
STANDARD_TYPES = """
typedef unsigned long size_t; typedef unsigned char uint8_t;
typedef int int32_t; typedef unsigned int uint32_t;
typedef long int64_t; typedef unsigned long uint64_t;
"""

errors = []


def preprocess(folder):
    """The declarations of all headers, without those of the system."""
    with tempfile.TemporaryDirectory() as empty:
        for name in SYSTEM:
            open(os.path.join(empty, name), "w").close()
        source = "".join(f'#include "{name}"\n' for name in HEADERS)
        compiler = os.environ.get("CC", "cc").split()
        return subprocess.run(
            compiler + ["-E", "-P", "-x", "c", "-U__GNUC__", "-U__clang__",
                        "-DNULL=0", "-nostdinc", "-I", empty, "-I", folder,
                        "-"],
            input=source, capture_output=True, text=True, check=True).stdout


def squeeze(text):
    return " ".join(text.split())


def enums(text):
    """{enumerator: number}; complains about values that are no numbers."""
    found = {}
    for name, body in re.findall(r"enum (\w+) \{(.*?)\}", text, re.S):
        for item in body.split(","):
            match = re.fullmatch(r"\s*(\w+) = (-?\d+)\s*", item)
            if not match:
                errors.append(f"enum {name}: '{squeeze(item)}' is not NAME = "
                              "NUMBER")
                continue
            if match.group(1) in found:
                errors.append(f"{match.group(1)} is declared twice")
            found[match.group(1)] = int(match.group(2))
    return found


def structs(text):
    """{struct: [field declarations]}"""
    found = re.findall(r"typedef struct (\w+) \{(.*?)\} \w+;", text, re.S)
    return {name: [squeeze(field) for field in body.split(";")
                   if field.strip()] for name, body in found}


def functions(text):
    """{function: declaration without the names of parameters}"""
    found = {}
    for match in re.finditer(r"([\w* ]+?)\b(tlp_\w+)\(([^()]*)\)\s*;", text):
        result, name, inside = match.groups()
        types = [re.sub(r"\w+$", "", squeeze(part)).strip() or squeeze(part)
                 for part in inside.split(",")]
        found[name] = f"{squeeze(result)} ({', '.join(types)})"
    return found


def callbacks(text):
    return {name: squeeze(rest) for name, rest in
            re.findall(r"typedef \w+ \(\*(\w+)\)(.*?);", text, re.S)}


def compare_structs(old, new):
    for name, fields in old.items():
        now = new.get(name, [])
        grows = fields[0] == "size_t struct_size"
        for i, field in enumerate(fields):
            if now[i:i + 1] != [field]:
                errors.append(f"struct {name}: field {i} is {now[i:i + 1]}, "
                              f"frozen '{field}'")
                break
        else:
            if len(now) > len(fields) and not grows:
                errors.append(f"struct {name}: {now[len(fields)]} is new, and "
                              "the struct has no struct_size")


def compare_names(kind, old, new):
    for name, value in old.items():
        if new.get(name) != value:
            errors.append(f"{kind} {name}: {new.get(name)}, frozen {value}")


def check_frozen(folder, text):
    frozen = preprocess(folder)
    compare_structs(structs(frozen), structs(text))
    compare_names("enumerator", enums(frozen), enums(text))
    compare_names("function", functions(frozen), functions(text))
    compare_names("callback", callbacks(frozen), callbacks(text))
    client = open(os.path.join(folder, "client.c"), encoding="utf-8").read()
    for name in functions(frozen):
        if not re.search(rf"\b{name}\(", client):
            errors.append(f"{folder}/client.c does not call {name}")


def check_pycparser(text, values):
    """Compare the enumerators with those that pycparser reads."""
    try:
        from pycparser import c_ast, c_parser
    except ImportError:
        print("check-headers: skipped: no pycparser (python3-pycparser)")
        return
    tree = c_parser.CParser().parse(STANDARD_TYPES + text)
    read = {}

    class Visitor(c_ast.NodeVisitor):
        def visit_Enumerator(self, node):
            minus = isinstance(node.value, c_ast.UnaryOp)
            number = node.value.expr if minus else node.value
            read[node.name] = int(number.value) * (-1 if minus else 1)

    Visitor().visit(tree)
    compare_names("enumerator by pycparser", values, read)


def check_cffi(text, library, values):
    """Call the library through declarations that cffi reads."""
    try:
        import cffi
    except ImportError:
        print("check-headers: skipped: no cffi (python3-cffi)")
        return
    ffi = cffi.FFI()
    ffi.cdef(text)
    lib = ffi.dlopen(os.path.abspath(library))
    for name in functions(text):
        getattr(lib, name)
    for name, value in values.items():
        if getattr(lib, name) != value:
            errors.append(f"{name} by cffi: {getattr(lib, name)}, {value}")
    for name in re.findall(r"\b(TLP_(?:OK|ERROR|E[A-Z]+)) = ", text):
        said = ffi.string(lib.tlp_status_name(values[name])).decode()
        if said != name:
            errors.append(f"tlp_status_name({values[name]}) is {said}, {name} "
                          "in tlp.h")


def main():
    args = sys.argv[1:]
    frozen = []
    while args[0] == "--frozen":
        frozen.append(args[1])
        args = args[2:]
    text = preprocess("include")
    values = enums(text)
    if len(values) < 50:
        errors.append(f"only {len(values)} enumerators found")
    for folder in frozen:
        check_frozen(folder, text)
    if not errors:
        check_pycparser(text, values)
        check_cffi(text, args[0], values)
    if errors:
        sys.exit("\n".join("check-headers: " + e for e in errors))
    print(f"headers: {len(values)} constants, {len(structs(text))} structs, "
          f"{len(functions(text))} functions, readable after cpp alone")


if __name__ == "__main__":
    main()
