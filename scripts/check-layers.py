#!/usr/bin/env python3
"""check-layers.py [BUILD] - fail if a folder uses what it may not.

Reads the includes of lib, src and examples, and, where BUILD holds object
files, the symbols that each folder defines and uses.  No circle may run
through the folders.
"""
import os
import re
import subprocess
import sys

# Folder: the folders of lib that it may use.  Keep the order of the build: a
# folder uses folders that stand before it.
MAY_USE = {
    'base': '',
    'tensor': 'base',
    'file': 'base tensor',
    'hf': 'base tensor file',
    'jinja': 'base',
    'text': 'base tensor file jinja',
    'backend': 'base tensor',
    'stats': 'base backend',
    'model': 'base tensor file hf jinja text backend',
    'grammar': 'base file tensor text model',
    'plan': 'base tensor file model',
    'comm': 'base tensor',
    'mpi': 'base comm',
    'device': 'base tensor backend comm',
    'rank': 'base tensor model plan backend comm device',
    'cost': 'base tensor model plan backend comm rank',
    'group': 'base tensor model plan backend comm device rank cost',
    'session': 'base tensor file text model grammar plan backend comm device '
               'rank cost group',
    'engine': 'base model grammar plan session',
    'eval': 'base file text model session',
    'tune': 'base tensor file model plan comm cost stats rank group',
    'train': 'base tensor file model plan backend comm stats rank group tune',
}

# FOLDER: SYMBOL of another folder that it uses, against the table.  Each line is
# a debt; the list only shrinks.
DEBTS = set()

INCLUDE = re.compile(r'\s*#\s*include\s*"([^"]+)"')
PRIVATE = re.compile(r'\btlpi_[a-z_0-9]*')


def sources(folder):
    for name in sorted(os.listdir(folder)):
        if name.endswith(('.c', '.h', '.cc', '.inc')):
            yield os.path.join(folder, name)


def check_includes(bad, edges):
    folders = ['lib/' + f for f in sorted(os.listdir('lib'))
               if os.path.isdir('lib/' + f)]
    for folder in folders + ['src', 'examples']:
        own = folder[4:] if folder.startswith('lib/') else None
        if own is not None and own not in MAY_USE:
            bad.append(f'{folder}:1: the table of check-layers.py lacks it')
            continue
        may = {own, *MAY_USE[own].split()} if own else set()
        for path in sources(folder):
            with open(path, encoding='utf-8') as f:
                lines = f.readlines()
            for n, line in enumerate(lines, 1):
                m = INCLUDE.match(line)
                if m:
                    header = m.group(1)
                    room = os.path.dirname(header)
                    if room == '':
                        if not (os.path.exists(f'include/{header}') or
                                os.path.exists(f'{folder}/{header}')):
                            bad.append(f'{path}:{n}: no {header}')
                        continue
                    if own and room != own:
                        edges.setdefault((own, room), f'{path}:{n}')
                    if room not in may:
                        bad.append(f'{path}:{n}: {folder} must not include '
                                   f'{header}')
                if own is None:
                    for name in PRIVATE.findall(line):
                        bad.append(f'{path}:{n}: private name {name}')


def names(args, objects):
    out = subprocess.run(['nm', '-A', '-P', *args, *objects], check=True,
                         capture_output=True, text=True).stdout
    for line in out.splitlines():
        path, rest = line.split(': ', 1)
        yield path, rest.split()[0]


def check_symbols(build, bad, edges):
    objects = {}
    for folder in MAY_USE:
        for source in sources('lib/' + folder) if os.path.isdir(
                'lib/' + folder) else ():
            o = f'{build}/{source[:-2]}.o'
            if source.endswith('.c') and os.path.exists(o):
                objects[o] = folder
    if not objects:
        print(f'layers: no objects in {build}: symbols were not checked')
        return
    home = {}
    for o, name in names(['-g', '--defined-only'], objects):
        home[name] = objects[o]
    for o, name in names(['-u'], objects):
        user, owner = objects[o], home.get(name)
        if owner is None or owner == user:
            continue
        source = o[len(build) + 1:-2] + '.c'
        edges.setdefault((user, owner), f'{source}:1')
        if owner not in MAY_USE[user].split() and \
                f'{user}: {name}' not in DEBTS:
            bad.append(f'{source}:1: lib/{user} must not use {name} of '
                       f'lib/{owner}')


def check_circles(edges, bad):
    after = {}
    for user, owner in edges:
        after.setdefault(user, set()).add(owner)

    def walk(folder, way):
        if folder in way:
            ring = way[way.index(folder):] + [folder]
            where = edges[ring[0], ring[1]]
            bad.append(f'{where}: a circle: {" -> ".join(ring)}')
            return True
        return any(walk(f, way + [folder]) for f in sorted(after.get(folder,
                                                                     ())))
    for folder in sorted(after):
        if walk(folder, []):
            return


def main():
    bad, edges = [], {}
    check_includes(bad, edges)
    if len(sys.argv) > 1:
        check_symbols(sys.argv[1], bad, edges)
    check_circles(edges, bad)
    for line in bad:
        print(line)
    if not bad:
        print('layers: clean')
    return 1 if bad else 0


sys.exit(main())
