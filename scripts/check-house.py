#!/usr/bin/env python3
"""check-house.py - the rules of docs/conventions.md that a program can hold.

Prints each finding as file:line: text.  A rule with a budget fails when the
tree has more findings than the budget; --all shows findings within budgets.
Commits are those since the last release, or since SINCE=COMMIT.
"""
import collections
import os
import re
import shutil
import subprocess
import sys

# Findings that today's tree may have.  A number only shrinks; the goal is 0
# unless a comment names another one.
BUDGETS = {
    'file over 500 lines': 18,
    'file over 800 lines': 1,
    'header over 200 lines': 7,
    'function too long': 4,
    'file name': 0,
    'type name': 0,
    'format': 0,
    'commit subject': 0,
    'private name': 0,
    'locale': 0,
    'test timeouts': 0,
}

# Vague connectives in 100 words of comment.
VAGUE_PER_100 = 0.30
VAGUE = [
    'likewise', 'whoever', 'whatever', 'so many', 'so much', 'what it was',
    'what they', 'what it', 'what was', 'the others', 'the other one',
    'the same', 'as above', 'as it does', 'as they do', 'one that',
    'ones that', 'what became', 'what becomes', 'of which', 'that of',
    'those of', 'such a', 'and so do', 'so does', 'as it is', 'as before',
    'the former', 'the latter', 'in no time',
]

# Vectors of each instruction set, and opaque types of each backend.
SHARED_TYPES = {'vf', 'vi', 'tlpi_weight', 'tlpi_pages', 'tlpi_kv',
                'tlpi_rope', 'tlpi_routes'}

LIMITS = {'source': 500, 'most': 800, 'header': 200, 'function': 60,
          'kernel': 120, 'subject': 60}
PUBLIC = 'include/'
CODE = ('lib', 'cuda', 'src', 'include', 'test', 'examples')
FROZEN = {'test/abi'}  # headers of older interfaces, and their clients
ENDS = ('.c', '.h', '.cc', '.hpp', '.cu', '.cuh', '.inc')

findings = collections.defaultdict(list)


def find(rule, path, line, text):
    findings[rule].append(f'{path}:{line}: {text}')


def git(*args):
    return subprocess.run(['git', *args], capture_output=True,
                          text=True).stdout


def tree(*folders, ends=ENDS):
    for folder in folders:
        for at, below, names in os.walk(folder):
            below[:] = sorted(b for b in below
                              if os.path.join(at, b) not in FROZEN)
            for name in sorted(names):
                if name.endswith(ends):
                    yield os.path.join(at, name)


def read(path):
    with open(path, encoding='utf-8', errors='replace') as f:
        return f.read()


def spaces(match):
    return re.sub(r'[^\n]', ' ', match.group())


TOKENS = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'
                    r"'(?:\\.|[^'\\\n])+'", re.S)


def code_of(text):
    """The text with comments, strings and directives blanked."""
    text = TOKENS.sub(spaces, text)
    return re.sub(r'^[ \t]*#(?:[^\n]*\\\n)*[^\n]*', spaces, text, flags=re.M)


def check_lengths(path, text):
    n = text.count('\n')
    if path.endswith(('.c', '.cc', '.cu')):
        if n > LIMITS['most']:
            find('file over 800 lines', path, 1, f'{n} lines')
        elif n > LIMITS['source']:
            find('file over 500 lines', path, 1, f'{n} lines')
    elif not path.startswith(PUBLIC) and n > LIMITS['header']:
        find('header over 200 lines', path, 1, f'{n} lines')


def check_functions(path, code):
    kernel = path.startswith('cuda/') or \
        os.path.basename(path).startswith('cpu_')
    most = LIMITS['kernel' if kernel else 'function']
    start, before = None, ''
    for n, line in enumerate(code.split('\n'), 1):
        if line.startswith('{'):
            start = n if ')' in before else None
        elif line.startswith('}'):
            if start and n - start - 1 > most:
                find('function too long', path, start, f'{n - start - 1} '
                     f'lines, at most {most}')
            start = None
        elif line.rstrip().endswith(') {') and not line[:1].isspace():
            start = n
        if line.strip():
            before = line


TYPE = re.compile(r'^(?:typedef\s+)?(?:struct|union|enum)\s+([A-Za-z_]\w*)'
                  r'\s*\{', re.M)
ALIAS = re.compile(r'^typedef\b[^;{}]*?\b([A-Za-z_]\w*)\s*(?:\[[^;]*\])?;',
                   re.M)
FUNCTION_TYPE = re.compile(r'^typedef\b[^;{}(]*\(\s*\*?\s*([A-Za-z_]\w*)\s*\)'
                           r'|^typedef\b[^;{}()]*?\b([A-Za-z_]\w*)\s*\(', re.M)
END = re.compile(r'^\}\s*([A-Za-z_]\w*)(?:\[[^;]*\])?;', re.M)


def types_of(code):
    found = {}
    for pattern in (TYPE, FUNCTION_TYPE, ALIAS):
        for m in pattern.finditer(code):
            name = next(g for g in m.groups() if g)
            found.setdefault(name, code.count('\n', 0, m.start()) + 1)
    for m in END.finditer(code):
        opened = code.rfind('\ntypedef', 0, m.start())
        if opened >= 0 and '\n}' not in code[opened:m.start()]:
            found.setdefault(m.group(1), code.count('\n', 0, m.start()) + 1)
    return found


def check_names(paths, codes):
    seen = {}
    for path in paths:
        if path.startswith('examples/'):
            continue
        name = os.path.basename(path)
        if path.startswith('test/cuda/emu/') or \
                path.startswith('test/plain/'):
            continue  # they have the names of the headers they stand for
        if name in seen:
            find('file name', path, 1, f'{seen[name]} has this name')
        seen.setdefault(name, path)
    seen = {}
    for path in paths:
        if not path.startswith(('lib/', 'cuda/', 'src/')):
            continue
        for name, line in types_of(codes[path]).items():
            home = seen.setdefault(name, (path, line))
            if name in SHARED_TYPES:
                continue
            # A declaration and its definition share a name.
            if home[0] != path and is_definition(codes[path], name) and \
                    is_definition(codes[home[0]], name):
                find('type name', path, line,
                     f'{name} is a type of {home[0]}:{home[1]}')
            elif is_definition(codes[path], name):
                seen[name] = (path, line)


def is_definition(code, name):
    if re.search(rf'\b(?:struct|union|enum)\s+{name}\s*\{{', code):
        return True
    if re.search(rf'^\}}\s*{name}\s*;', code, re.M):
        return True
    for m in re.finditer(rf'^typedef\b([^;{{}}]*)\b{name}\b[^;{{}}]*;', code,
                         re.M):
        if not re.match(r'\s*(struct|union|enum)\s+\w+\s*$', m.group(1)):
            return True
    return False


def comments_of(path, text):
    """(line, text) of each comment, runs of // as one."""
    for m in TOKENS.finditer(text):
        if m.group().startswith('/'):
            yield text.count('\n', 0, m.start()) + 1, m.group()


def check_prose(texts):
    words, vague = 0, []
    pattern = re.compile(r'\b(' + '|'.join(v.replace(' ', r'[\s*/]+')
                                           for v in VAGUE) + r')\b', re.I)
    for path, text in texts.items():
        if not path.startswith(('lib/', 'cuda/', 'src/', 'include/')):
            continue
        for line, comment in comments_of(path, text):
            words += len(re.findall(r"[A-Za-z][A-Za-z']*", comment))
            for m in pattern.finditer(comment):
                at = line + comment.count('\n', 0, m.start())
                said = ' '.join(re.sub(r'[*/]', ' ', m.group()).split())
                vague.append(f'{path}:{at}: "{said}": repeat the noun')
    return words, vague


def check_subjects():
    tag = os.environ.get('SINCE') or git('describe', '--tags', '--abbrev=0',
                                         '--match', 'v[0-9]*').strip()
    if not tag:
        print('house: no release and no SINCE=COMMIT: subjects of commits were not checked')
        return
    log = git('log', '--no-merges', '--format=%h %s', f'{tag}..HEAD')
    for entry in log.splitlines():
        commit, _, subject = entry.partition(' ')
        if len(subject) > LIMITS['subject']:
            find('commit subject', f'commit {commit}', 1,
                 f'{len(subject)} characters: {subject}')
        elif not re.match(r'[a-z0-9_., /-]+: [a-z]', subject):
            find('commit subject', f'commit {commit}', 1,
                 f'not "module: verb what": {subject}')


def check_format():
    tool = os.environ.get('CLANG_FORMAT', 'clang-format')
    if not shutil.which(tool):
        print(f'house: no {tool}: formatting was not checked')
        return
    files = [f for f in git('ls-files').splitlines()
             if f.endswith(('.c', '.h', '.cc', '.hpp', '.cu', '.cuh')) and
             os.path.exists(f)]
    said = subprocess.run([tool, '--dry-run', *files], capture_output=True,
                          text=True).stderr
    wrong = {}
    for m in re.finditer(r'^([^:\n]+):(\d+):\d+: (?:warning|error)', said,
                         re.M):
        wrong.setdefault(m.group(1), m.group(2))
    for path, line in wrong.items():
        find('format', path, line, 'clang-format would change it')


def check_private(paths, codes):
    for path in paths:
        if path.startswith(('src/', 'examples/')):
            for m in re.finditer(r'\btlpi_\w*', codes[path]):
                find('private name', path,
                     codes[path].count('\n', 0, m.start()) + 1, m.group())


# Functions of the C library and of Jansson whose results depend on the locale,
# and the files that call them for everybody.
LOCALE_CALLS = re.compile(
    r'\b(atof|strto(?:d|f|ld)|[fsv]*scanf|strerror(?:_r)?|strftime|strcoll|'
    r'strxfrm|str(?:n)?casecmp|is(?:al(?:num|pha)|digit|lower|upper|space|'
    r'print|punct|xdigit|graph|cntrl|blank)|to(?:lower|upper)|regcomp|perror|'
    r'setlocale|localeconv|mbr?towc|wcr?tomb|json_(?:loads|loadb|load_file|'
    r'dumps|dumpb|dump_file))\s*\(')
LOCALE_HOME = ('lib/base/number.c', 'lib/base/json_text.c')
PRINTF = re.compile(r'\b(?:v?(?:f|s|sn|as|d)?printf)\s*\(')
REAL = re.compile(r"%[-+ 0#']*(?:\d+|\*)?(?:\.(?:\d+|\*)?)?[lL]?[fFeEgGaA]")


def check_locale(path, text, code):
    """What lib/ and cuda/ write and read must not depend on the locale, nor
    the numbers that tests read: they run in several."""
    if path.startswith('src/'):
        calls = re.finditer(r'\bsetlocale\s*\(', code)
    elif path.startswith('test/') and not path.startswith('test/bench/'):
        calls = re.finditer(r'\b(?:atof|strto(?:d|f|ld))\s*\(', code)
    elif path.startswith(('lib/', 'cuda/')) and path not in LOCALE_HOME:
        calls = LOCALE_CALLS.finditer(code)
        for m in PRINTF.finditer(code):
            end = code.find(';', m.end())
            if REAL.search(text[m.end():end]):
                find('locale', path, code.count('\n', 0, m.start()) + 1,
                     f'{m.group()} with a real number: tlpi_snprintf')
    else:
        return
    for m in calls:
        find('locale', path, code.count('\n', 0, m.start()) + 1,
             f'{m.group()}) depends on the locale: base/number.h or json_text.h')


# Criterion 2.4.1 forgets the timeout of a running test, and leaks its record,
# when a test with an earlier deadline starts beside it.
def check_timeouts(path, code):
    found = sorted(set(re.findall(r'\.timeout\s*=\s*([^,)\s]+)', code)))
    if path.startswith('test/test_') and len(found) > 1:
        find('test timeouts', path, 1,
             f'timeouts {", ".join(found)}: Criterion needs one per program')


def main():
    show_all = '--all' in sys.argv[1:]
    paths = list(tree(*CODE))
    texts = {p: read(p) for p in paths}
    codes = {p: code_of(t) for p, t in texts.items()}
    for path in paths:
        check_lengths(path, texts[path])
        check_functions(path, codes[path])
        check_locale(path, texts[path], codes[path])
        check_timeouts(path, codes[path])
    check_names(paths, codes)
    check_private(paths, codes)
    check_format()
    check_subjects()
    words, vague = check_prose(texts)

    bad = False
    for rule, budget in BUDGETS.items():
        n = len(findings[rule])
        if n > budget or show_all:
            print('\n'.join(findings[rule]))
        if n > budget or (n and show_all) or n < budget:
            print(f'house: {rule}: {n} found, {budget} allowed' +
                  (': lower the budget' if n < budget else ''))
        bad = bad or n > budget
    rate = 100 * len(vague) / max(words, 1)
    if rate > VAGUE_PER_100 or show_all:
        print('\n'.join(vague))
    print(f'house: {len(vague)} vague connectives in {words} words of comment,'
          f' {rate:.2f} in 100; {VAGUE_PER_100} allowed')
    bad = bad or rate > VAGUE_PER_100
    if not bad:
        print('house: clean')
    return 1 if bad else 0


sys.exit(main())
