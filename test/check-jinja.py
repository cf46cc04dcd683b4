#!/usr/bin/env python3
"""check-jinja.py RENDER [SEED] - compare the interpreter of chat templates with
Python's jinja2, set up as Hugging Face's transformers does it.

RENDER is the program of test/jinja/render.c.  Three sets of templates: short
ones of test/jinja/templates.txt, chat templates composed in the manners of
published ones with five conversations each, and random expressions.  The texts
must be equal, or the template refused; how many are refused is bounded.  A
fourth set is conversations as callers give them, with parts of content, tools,
documents and a message to continue, and what apply_chat_template of
transformers makes of them.
"""
import copy
import itertools
import json
import os
import random
import subprocess
import sys
import warnings

try:
    import jinja2
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment
except ImportError:
    print('jinja: SKIPPED, Python has no jinja2 (Debian: python3-jinja2)')
    sys.exit(0)

warnings.simplefilter('ignore')  # of Python, about hopeless expressions
HERE = os.path.dirname(os.path.abspath(__file__))


class Generation(Extension):
    """{% generation %} marks what a model has written; it shows its body."""
    tags = {'generation'}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(['name:endgeneration'],
                                       drop_needle=True)
        call = self.call_method('show')
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def show(self, caller):
        return caller()


def refuse(message):
    raise jinja2.exceptions.TemplateError(message)


def to_json(x, ensure_ascii=False, indent=None, separators=None,
            sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent,
                      separators=separators, sort_keys=sort_keys)


ENV = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                    extensions=[Generation, loopcontrols])
ENV.filters['tojson'] = to_json
ENV.globals['raise_exception'] = refuse


def expected(template, values):
    """The text, or None where Python raises."""
    try:
        return ENV.from_string(template).render(**copy.deepcopy(values))
    except Exception:  # a template may raise anything
        return None


def rendered(program, cases):
    lines = ''.join(json.dumps(dict(v, template=t)) + '\n' for t, v in cases)
    p = subprocess.run([program], input=lines.encode(), capture_output=True)
    answers = [json.loads(line) for line in p.stdout.decode().splitlines()]
    if p.returncode != 0 or len(answers) != len(cases):
        sys.exit(f'jinja: {program} ended with {p.returncode} after '
                 f'{len(answers)} of {len(cases)} templates')
    return answers


def compare(program, name, cases, may_refuse):
    """may_refuse: the share of the templates that Python renders."""
    wrong = refused = texts = 0
    answers = rendered(program, [(t, {'vars': v}) for t, v in cases])
    for (template, values), got in zip(cases, answers):
        want = expected(template, values)
        texts += want is not None
        if 'out' not in got:
            refused += want is not None
        elif got['out'] != want:
            wrong += 1
            if wrong <= 5:
                print(f'jinja: {template!r}\n  wanted {want!r}\n'
                      f'  got    {got["out"]!r}')
    print(f'jinja: {name}: {len(cases)} renderings, {texts} texts, '
          f'{refused} refused, {wrong} wrong')
    return wrong == 0 and refused <= may_refuse * texts and texts > 0


# ==== values ================================================================

SYSTEM = {'role': 'system', 'content': ' Be brief. '}
USER = {'role': 'user', 'content': 'H\u00e9llo <|im_end|>\n'}
ANSWER = {'role': 'assistant', 'content': '<think>\nhm\n</think>\n\nHi'}
CALL = {'role': 'assistant', 'content': '', 'tool_calls': [
    {'type': 'function', 'function': {
        'name': 'f', 'arguments': {'a': 1, 'b': [1.5, None, True, '\u00e9"']}}}]}
RESULT = {'role': 'tool', 'content': '42'}
TOOLS = [{'type': 'function', 'function': {
    'name': 'f', 'description': "It's <f>", 'parameters': {'z': 1, 'a': {}}}}]

CONVERSATIONS = [
    dict(messages=[USER], add_generation_prompt=True),
    dict(messages=[SYSTEM, USER], add_generation_prompt=True),
    dict(messages=[SYSTEM, USER, ANSWER, USER], add_generation_prompt=True),
    dict(messages=[USER, ANSWER], add_generation_prompt=False),
    dict(messages=[SYSTEM, USER, CALL, RESULT], add_generation_prompt=True,
         tools=TOOLS, enable_thinking=False),
]


def conversation(values):
    return dict(values, bos_token='<s>', eos_token='</s>')


VALUES = conversation(dict(
    messages=[SYSTEM, USER, dict(ANSWER, a=1), RESULT], x=5, f=2.5,
    s='Hello, World', l=[3, 1, 2], d={'b': 1, 'a': [1, 2]}, e='', n=None,
    tools=TOOLS, add_generation_prompt=True))

# ==== chat templates, composed ==============================================

OPENINGS = [
    '',
    '{{ bos_token }}',
    "{%- set ns = namespace(seen=false, text='') -%}\n",
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = "
    "messages[1:] %}{% set system_message = messages[0]['content'] %}"
    '{% else %}{% set loop_messages = messages %}{% set system_message = '
    "'You are A.' %}{% endif %}{{ '<|sys|>' + system_message + '\\n' }}",
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are B."
    '<|im_end|>\n{% endif %}',
    "{%- if tools %}\n    {{- '<tools>\\n' }}\n    {%- for tool in tools %}\n"
    '        {{- tool | tojson }}\n        {{- "\\n" }}\n    {%- endfor %}\n'
    "    {{- '</tools>' }}\n{%- endif %}\n",
]
MESSAGES = [
    "{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + "
    "'\\n' }}",
    "{{- '<|' + m.role + '|>\\n' }}\n{{- m.content | trim }}\n{{- eos_token }}",
    "{% if m.role == 'user' %}{{ '[INST] ' + m.content.strip() + ' [/INST]' }}"
    "{% elif m.role == 'assistant' %}{{ ' ' ~ m.content ~ eos_token }}"
    "{% elif m.role == 'system' %}{{ '<<SYS>>' + m.content + '<</SYS>>' }}"
    "{% else %}{{ '[' ~ m.role | upper ~ ']' ~ m.content }}{% endif %}",
    "    {%- if m.role == 'assistant' %}\n        {%- set content = "
    "m.content.split('</think>')[-1].lstrip('\\n') %}\n        {%- if "
    'm.tool_calls %}\n            {%- for call in m.tool_calls %}\n'
    "                {{- '<call>' + call.function.name + ' ' }}\n"
    '                {{- call.function.arguments | tojson(indent=2) }}\n'
    '            {%- endfor %}\n        {%- else %}\n            {%- '
    'generation %}{{- content }}{%- endgeneration %}\n        {%- endif %}\n'
    "    {%- else %}\n        {{- m.role | capitalize + ': ' + m.content }}\n"
    '    {%- endif %}\n',
    '{%- if loop.first and m.role == "user" %}First: {% endif %}'
    '{{ loop.index }}/{{ loop.length }} {{ m["content"] | replace("l", "L") | '
    'indent(2) }}{% if not loop.last %},{% endif %}\n',
]
ENDINGS = [
    '',
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    '{%- if add_generation_prompt %}\n    {{- "<|assistant|>\\n" }}\n    {%- if '
    'enable_thinking is defined and enable_thinking is false %}\n        '
    "{{- '<think>\\n\\n</think>\\n\\n' }}\n    {%- endif %}\n{%- endif %}\n",
]
LOOPS = [
    '{% for m in messages %}BODY{% endfor %}',
    "{%- for m in messages if m.role != 'system' %}\nBODY{%- endfor %}\n",
]


def composed():
    for parts in itertools.product(OPENINGS, LOOPS, MESSAGES, ENDINGS):
        opening, loop, message, ending = parts
        yield opening + loop.replace('BODY', message) + ending


# ==== conversations as callers give them ====================================

PARTS = {'role': 'user', 'content': [{'type': 'text', 'text': ' a '},
                                     {'type': 'text', 'text': 'b'}]}
CHATS = [
    dict(messages=[SYSTEM, PARTS], add_generation_prompt=True),
    dict(messages=[USER, ANSWER, USER], tools=TOOLS,
         kwargs={'enable_thinking': False}, add_generation_prompt=True),
    dict(messages=[USER, CALL, RESULT], tools=TOOLS,
         kwargs={'enable_thinking': True}),
    dict(messages=[USER, dict(CALL, content=None), RESULT], tools=TOOLS),
    dict(messages=[USER], documents=[{'title': 'T', 'text': 'w '}]),
    dict(messages=[USER, dict(ANSWER, content='Yes', reasoning_content='r')]),
    dict(messages=[USER, dict(ANSWER, content='Sure, ')],
         continue_final_message=True),
    dict(messages=[USER, dict(ANSWER, content='<think>\na')],
         continue_final_message=True),
    dict(messages=[USER, dict(PARTS, role='assistant')],
         continue_final_message=True),
]
CHAT_OPENINGS = OPENINGS + [
    "{% if documents %}{% for d in documents %}{{ d.title ~ ': ' ~ d.text }}"
    '{% endfor %}{% endif %}',
    '{% if tools is defined and tools is not none %}{{ tools | tojson }}'
    '{% endif %}',
]
CHAT_MESSAGES = MESSAGES + [
    '{% if m.content is string %}{{ m.content }}{% else %}{% for c in '
    "m.content %}{% if c.type == 'text' %}{{ c.text }}{% endif %}{% endfor %}"
    '{% endif %}{% if m.reasoning_content %}<think>{{ m.reasoning_content }}'
    "</think>{% endif %}{{ eos_token }}",
]
# What the library refuses where Python renders a text that no model knows, or
# loses a part of the conversation.
REFUSALS = ['never reads', "a message's content is", 'continue_final_message']


def apply_chat_template(template, chat):
    """As transformers does it, without its tokenizer."""
    values = dict(chat.get('kwargs', {}), messages=chat['messages'],
                  tools=chat.get('tools'), documents=chat.get('documents'),
                  add_generation_prompt=chat.get('add_generation_prompt', False),
                  bos_token='<s>', eos_token='</s>', unk_token='<unk>')
    text = expected(template, values)
    if text is None or not chat.get('continue_final_message'):
        return text
    final = chat['messages'][-1]['content']
    if isinstance(final, list):
        final = next(c['text'] for c in reversed(final) if 'text' in c)
    if final.strip() not in text:
        return None
    at = text.rindex(final.strip())
    if text[at:at + len(final.lstrip())] == final:
        return text[:at + len(final.lstrip())]
    return text[:at + len(final.strip())]


def compare_chats(program):
    parts = itertools.product(CHAT_OPENINGS, LOOPS, CHAT_MESSAGES, ENDINGS)
    cases = [(opening + loop.replace('BODY', message) + ending, {'chat': c})
             for opening, loop, message, ending in parts for c in CHATS]
    texts = wrong = refused = 0
    for (template, request), got in zip(cases, rendered(program, cases)):
        want = apply_chat_template(template, request['chat'])
        if 'out' in got:
            texts += 1
            bad = got['out'] != want or not got['ids']
        else:
            refused += want is not None
            bad = want is not None and not any(r in got['error']
                                               for r in REFUSALS)
        wrong += bad
        if bad and wrong <= 5:
            print(f'jinja: {template!r} {request}\n  wanted {want!r}\n'
                  f'  got    {got}')
    print(f'jinja: conversations: {len(cases)} renderings, {texts} texts, '
          f'{refused} refused, {wrong} wrong')
    return wrong == 0 and texts > len(cases) / 3


# ==== random expressions ====================================================

NAMES = ['messages', 'x', 'f', 's', 'l', 'd', 'n', 'e', 'u', 'tools']
LITERALS = ['1', '0', '-2', '3.5', 'true', 'none', "'a'", "'Hello \u00e9'", "''",
            "' b\\n '", '[1,2,3]', "['b','a']", "{'a':1,'b':'x'}", "(1,'t')",
            '[]', '{}', "'role'", "'content'", '10']
FILTERS = ['trim', 'upper', 'lower', 'length', 'list', 'first', 'last', 'join',
           "join(', ')", 'string', 'tojson', "default('q')", 'default(1,true)',
           'int', 'float', 'abs', 'title', 'capitalize', 'reverse|list',
           'sort', 'unique|list', 'sum', 'max', 'min', 'items|list',
           'dictsort', "replace('a','b')", 'indent(2)', 'round', 'select|list',
           "map('string')|list", "map(attribute='role')|list",
           'tojson(indent=2)', "selectattr('role','eq','user')|list",
           "rejectattr('a')|list", "reject('none')|list", 'count']
METHODS = ['strip()', 'lstrip()', 'rstrip()', 'split()', "split('a')",
           "split(',',1)", 'upper()', 'lower()', 'title()', 'capitalize()',
           "startswith('a')", "endswith('o')", "replace('l','LL')",
           'items()|list', 'keys()|list', 'values()|list', "get('a')",
           "get('q',7)", "find('l')", "count('l')", 'splitlines()',
           'isdigit()', 'isupper()', "strip('aH')", "rsplit('l',1)",
           "join(['q','r'])"]
TESTS = ['defined', 'undefined', 'none', 'string', 'number', 'mapping',
         'sequence', 'iterable', 'boolean', 'odd', 'even', 'integer', 'float',
         'true', 'false', 'divisibleby 3', 'eq 1', 'in [1,2]', 'upper',
         'lower', 'callable']
BINARY = ['+', '-', '*', '/', '//', '%', '~', '==', '!=', '<', '>', '<=', '>=',
          'in', 'not in', 'and', 'or']
SLICES = ['0', '-1', '1:', '::-1', ':2', '1:-1', '::2']


def expression(rng, depth):
    def below():
        return expression(rng, depth - 1 - rng.randrange(2))

    kind = rng.randrange(12) if depth > 0 else rng.randrange(2)
    if kind == 0:
        return rng.choice(LITERALS)
    if kind == 1:
        return rng.choice(NAMES)
    if kind <= 4:
        return f'({below()} {rng.choice(BINARY)} {below()})'
    if kind == 5:
        return f'(not {below()})'
    if kind == 6:
        return f'({below()} if {below()} else {below()})'
    if kind == 7:
        return f'{below()}[{rng.choice(SLICES + [below()])}]'
    if kind <= 9:
        return f'({below()}|{rng.choice(FILTERS)})'
    if kind == 10:
        return f'({below()} is {rng.choice(TESTS)})'
    return f'({below()}).{rng.choice(METHODS)}'


def main():
    program, seed = sys.argv[1], int((sys.argv[2:] or ['1'])[0])
    rng = random.Random(seed)
    with open(f'{HERE}/jinja/templates.txt', encoding='utf-8') as f:
        short = f.read().split('\n====\n')
    chats = list(composed())
    ok = compare(program, 'short templates', [(t, VALUES) for t in short], 0.1)
    ok &= compare(program, f'{len(chats)} chat templates',
                  [(t, conversation(c)) for t in chats for c in CONVERSATIONS],
                  0)
    ok &= compare_chats(program)
    ok &= compare(program, f'random expressions, seed {seed}',
                  [('{{ ' + expression(rng, 4) + ' }}', VALUES)
                   for _ in range(3000)], 0.05)
    sys.exit(0 if ok else 1)


main()
