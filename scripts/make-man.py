#!/usr/bin/env python3
"""make-man.py OUT VERSION HEADER... - write manual pages from public headers.

Each function gets a page NAME.3, each group of functions (@defgroup) an
overview page GROUP.3.  The script reads the part of Doxygen's syntax that the
headers use, and fails if a function lacks a part of its documentation: a brief,
a @param for each parameter, a @return for each result, @since.
"""
import os
import re
import sys
import textwrap

COMMENT = re.compile(r"/\*\*(.*?)\*/", re.S)
FUNCTION = re.compile(r"^TLP_API\s+(.*?)\b(tlp_\w+)\((.*?)\)\s*"
                      r"(?:TLP_NODISCARD\s*)?;", re.S | re.M)
TYPE = re.compile(r"(?:typedef\s+)?(?:struct|enum)\s+(tlp_\w+)\s*\{.*?\}\s*"
                  r"\w*;", re.S)
CALLBACK = re.compile(r"typedef\s+\w+\s+\(\*(tlp_\w+)\)\([^;]*\);", re.S)

errors = []


def complain(where, text):
    errors.append(f"{where}: {text}")


def comment_lines(body):
    """The lines of a doc comment without the leading stars."""
    lines = [re.sub(r"^\s*\* ?", "", line) for line in body.split("\n")]
    return [line.rstrip() for line in lines]


class Doc:
    """A doc comment: paragraphs, and the commands that begin lines."""

    def __init__(self, body):
        self.text, self.params = [], []
        self.returns, self.since, self.threads = [], [], []
        self.group, self.title = None, ""
        target = self.text
        for line in comment_lines(body):
            match = re.match(r"@(\w+)(\[out\])?\s*(.*)|@[{}]", line)
            if match:
                target = self.command(*match.groups())
            elif line.strip() or target is self.text:
                target.append(line)
            else:
                target = self.text

    def command(self, command, out, rest):
        """Take one command; return the list that further lines belong to."""
        if command == "param":
            name, _, rest = rest.partition(" ")
            self.params.append((name, bool(out), [rest]))
            return self.params[-1][2]
        if command == "defgroup":
            self.group, _, self.title = rest.partition(" ")
            return self.text
        if command == "par":
            return self.threads
        target = {"return": self.returns, "since": self.since}.get(command, [])
        target.append(rest)
        return target

    def paragraphs(self):
        """Paragraphs; a paragraph of indented lines is a code block."""
        blocks, lines = [], []
        for line in self.text + [""]:
            if line.strip():
                lines.append(line)
            elif lines:
                blocks.append(lines)
                lines = []
        return blocks

    def brief(self):
        blocks = self.paragraphs()
        text = " ".join(line.strip() for line in blocks[0]) if blocks else ""
        match = re.match(r"(.*?\.)(?:\s|$)", text)
        return match.group(1) if match else text


class Entry:
    """A function, type or callback with its comment and its place."""

    def __init__(self, kind, name, code, doc, group, header):
        self.kind, self.name, self.code = kind, name, code
        self.doc, self.group, self.header = doc, group, header


def parameters(code):
    inside = code[code.index("(") + 1:code.rindex(")")].strip()
    if inside == "void":
        return []
    return [re.search(r"(\w+)$", part.strip()).group(1)
            for part in inside.split(",")]


def check_function(entry):
    """Complain about each part that the comment of a function lacks."""
    doc, where = entry.doc, f"{entry.header}: {entry.name}"
    names = parameters(entry.code)
    if doc is None or not doc.brief().endswith("."):
        complain(where, "no brief that ends in a period")
        return
    listed = [name for name, _, _ in doc.params]
    if listed != names:
        complain(where, f"@param {listed}, parameters {names}")
    for name, _, text in doc.params:
        if not "".join(text).strip():
            complain(where, f"@param {name} without a text")
    if not re.search(r"\bvoid\s+tlp_", entry.code) and not doc.returns:
        complain(where, "no @return")
    if not doc.since:
        complain(where, "no @since")


def read_header(path, entries, groups):
    text = open(path, encoding="utf-8").read()
    header = os.path.basename(path)
    group, doc, at = None, None, 0
    pattern = re.compile("|".join(f"(?:{p.pattern})" for p in
                                  (COMMENT, FUNCTION, TYPE, CALLBACK)),
                         re.S | re.M)
    while True:
        match = pattern.search(text, at)
        if not match:
            break
        code, at = match.group(0), match.end()
        if code.startswith("/**"):
            if "@}" in code:
                group = doc = None
                continue
            doc = Doc(code[3:-2])
            if doc.group:
                group = groups.setdefault(doc.group, (doc, header))[0].group
                doc = None
            continue
        if code.startswith("TLP_API"):
            name = re.search(r"(tlp_\w+)\(", code).group(1)
            entry = Entry("function", name, code, doc, group, header)
            check_function(entry)
            if not group:
                complain(f"{header}: {name}", "stands in no group")
        elif "(*" in code.split("{")[0]:
            name = re.search(r"\(\*(tlp_\w+)\)", code).group(1)
            entry = Entry("callback", name, code, doc, group, header)
        else:
            name = re.search(r"(?:struct|enum)\s+(tlp_\w+)", code).group(1)
            entry = Entry("type", name, code, doc, group, header)
        if doc is None:
            complain(f"{header}: {name}", "no comment")
        entries[name] = entry
        doc = None


# ==== roff ==================================================================

def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text)


def prose(text):
    """Filled text, from a string or lines, with names of the API in bold."""
    if not isinstance(text, str):
        text = " ".join(text)
    text = escape(" ".join(text.split()))
    text = re.sub(r"`([^`]+)`", r"\\fI\1\\fP", text)
    text = re.sub(r"\b(TLP_[A-Z0-9_]+|tlp_[a-z0-9_]+(?:\.h)?)", r"\\fB\1\\fP",
                  text)
    return "\n".join(textwrap.wrap(text, 76, break_long_words=False,
                                   break_on_hyphens=False))


def code_block(code):
    lines = [escape(line) for line in code.rstrip().split("\n")]
    return ".nf\n" + "\n".join(lines) + "\n.fi\n"


def body(doc, skip_brief):
    out = []
    for i, lines in enumerate(doc.paragraphs()):
        if all(line.startswith("    ") for line in lines):
            out.append(".PP\n.RS 4\n" +
                       code_block(textwrap.dedent("\n".join(lines))) + ".RE\n")
            continue
        text = " ".join(line.strip() for line in lines)
        if i == 0 and skip_brief:
            text = text[len(doc.brief()):].strip()
        if text:
            out.append(f".PP\n{prose(text)}\n")
    return "".join(out)


def declaration(code):
    code = re.sub(r"\s*TLP_NODISCARD", "", code).replace("TLP_API ", "")
    return textwrap.dedent(re.sub(r"\n {8}", "\n", code))


def type_block(code):
    """The code of a type, its comments without marks and padding."""
    code = re.sub(r" +\*/", " */", code)
    code = code.replace("/**<", "/*").replace("/** ", "/* ")
    code = re.sub(r"^ {8,}", lambda m: m.group(0)[2:], code, flags=re.M)
    return ".PP\n.in -3n\n" + code_block(code) + ".in\n"


def types_in(code, entries):
    """Types that a function mentions, and types that these types mention."""
    found, todo = [], [code]
    while todo:
        for name in re.findall(r"\btlp_\w+", todo.pop(0)):
            entry = entries.get(name)
            if entry and entry.kind != "function" and entry not in found and \
                    name != "tlp_status":
                found.append(entry)
                todo.append(entry.code)
    return found


def page_head(name, brief, version):
    brief = brief.rstrip(".")
    return (f".TH {name.upper()} 3 \"\" \"libtlp {version}\" "
            f"\"Library Functions\"\n.SH NAME\n{name} \\- "
            f"{escape(brief[0].lower() + brief[1:])}\n")


def function_page(entry, entries, groups, version):
    doc = entry.doc
    out = [page_head(entry.name, doc.brief(), version), ".SH SYNOPSIS\n",
           code_block(f"#include <{entry.header}>\n\n" +
                      declaration(entry.code)),
           ".PP\nLink with \\fI\\-ltlp\\fP.\n", ".SH DESCRIPTION\n",
           prose(doc.brief()), "\n", body(doc, True)]
    if doc.params:
        out.append(".SH PARAMETERS\n")
        for name, is_out, text in doc.params:
            mark = " (out)" if is_out else ""
            out.append(f".TP\n.I {name}{mark}\n{prose(text)}\n")
    if doc.returns:
        out.append(f".SH RETURN VALUE\n{prose(doc.returns)}\n")
        if "tlp_status" in entry.code:
            out.append(".PP\n.BR tlp_last_error (3)\nhas the text of a "
                       "failure.\n")
    types = types_in(entry.code, entries)
    shown = [t for t in types if t.group == entry.group or
             t.name.endswith("_options")]
    if shown:
        out.append(".SH TYPES\n")
        for t in shown:
            out.append(f".PP\n{prose(t.doc.brief())}\n{type_block(t.code)}")
    threads = doc.threads or groups[entry.group][0].threads
    if threads:
        out.append(f".SH THREADS\n{prose(threads)}\n")
    out.append(f".SH HISTORY\nSince libtlp {doc.since[0]}.\n")
    out.append(see_also(entry, entries))
    return "".join(out)


def see_also(entry, entries):
    names = [e.name for e in entries.values() if e.kind == "function" and
             e.group == entry.group and e.name != entry.name]
    lines = [f".BR {entry.group} (3)"]
    lines += [f".BR {name} (3)" for name in names] + [".BR libtlp (3)"]
    return ".SH SEE ALSO\n" + " ,\n".join(lines) + "\n"


def group_page(group, entries, groups, version):
    doc, header = groups[group]
    members = [e for e in entries.values() if e.group == group]
    out = [page_head(group, doc.title + " of libtlp", version),
           ".SH SYNOPSIS\n", code_block(f"#include <{header}>"),
           ".SH DESCRIPTION\n", body(doc, False)]
    out.append(".SS Functions\n")
    for e in members:
        if e.kind == "function":
            out.append(f".TP\n.BR {e.name} (3)\n{prose(e.doc.brief())}\n")
    kinds = [e for e in members if e.kind != "function" and e.doc]
    if kinds:
        out.append(".SS Types\n")
        for e in kinds:
            text = " ".join(" ".join(lines) for lines in e.doc.paragraphs())
            out.append(f".PP\n{prose(text)}\n{type_block(e.code)}")
    if doc.threads:
        out.append(f".SH THREADS\n{prose(doc.threads)}\n")
    out.append(".SH SEE ALSO\n.BR libtlp (3)\n")
    return "".join(out)


def main():
    out, version, headers = sys.argv[1], sys.argv[2], sys.argv[3:]
    entries, groups = {}, {}
    for path in headers:
        read_header(path, entries, groups)
    if errors:
        sys.exit("\n".join("make-man: " + e for e in errors))
    os.makedirs(out, exist_ok=True)
    pages = {e.name: function_page(e, entries, groups, version)
             for e in entries.values() if e.kind == "function"}
    for group in groups:
        pages[group] = group_page(group, entries, groups, version)
    for name in os.listdir(out):
        if name.endswith(".3") and name[:-2] not in pages:
            os.remove(os.path.join(out, name))
    for name, text in pages.items():
        with open(os.path.join(out, name + ".3"), "w",
                  encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main()
