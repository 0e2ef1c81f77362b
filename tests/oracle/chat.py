#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Chat templates against jinja2 as transformers sets it up.

    chat.py > fixtures/chat.jsonl     templates of our own over every feature, with the text expected (null: refused)
    chat.py MODEL...                  the same for the templates of model directories, over conversations, on standard output

tests/unit/chat.c renders each line and compares; so does it with the file that its first argument names."""
import datetime
import json
import os
import sys

from transformers.utils.chat_template_utils import _compile_jinja_template as compile_template

NAMES = {"bos_token": "<s>", "eos_token": "</s>"}
MESSAGES = [{"role": "system", "content": "You are <b>brief</b> & 'kind' \"x\"."}, {"role": "user", "content": "Gr\u00fc\u00dfe, \u4f60\u597d \U0001f600\n  hi  "},
            {"role": "assistant", "content": "  Sure!\n"}, {"role": "user", "content": ""},
            {"role": "assistant", "content": "bye", "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"a": 1, "b": [1.5, None, True, "\u00e9<"]}}}]}]
THINKING = [MESSAGES[1], {"role": "assistant", "content": "<think>\nhm\n</think>\n\nok"}, {"role": "user", "content": "u"},
            {"role": "assistant", "content": "<think>\nhm2\n</think>\n\nok2"}, {"role": "tool", "content": "r1"}, {"role": "tool", "content": "r2"}]
TOOLS = [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "array"}}, "required": ["a"]}}}]

EXPRESSIONS = r'''1 + 2 * 3 - 4 // 3 ** 2
7 / 2
-7 // 2
-7 % 3
7 % -3
2 ** 10
2 ** -1
-3 | abs
1.0
1e-5
100000000000000000000.0
0.1 + 0.2
true
none
[1, 'a', "it's", 2.5, none, true, {'k': [1]}]
('a',)
('a', 1)
{'a': 1, 'b': 'x'}
'a' ~ 1 ~ none ~ true
'abc'[1]
'abc'[-1]
'abcdef'[1:4]
'abcdef'[::-1]
'äöü'[1:]
[1,2,3,4][::2]
[1,2,3][-2:]
[1,2,3][5:]
messages[0].role
messages[0]['role']
messages[-1].content
messages|length
messages[1:]|length
undefinedvar
undefinedvar.x is defined
undefinedvar is defined
undefinedvar is undefined
messages[0].nokey is defined
messages[0].nokey
1 < 2 < 3
1 < 2 > 3
'a' in 'abc'
'z' not in 'abc'
'role' in messages[0]
1 in [1,2]
not 1 in [2]
1 if false
1 if false else 2
(1 if true else 2) + 3
'x' if undefinedvar else 'y'
' a b '|trim ~ '|'
'xxaxx'.strip('x')
'a,b,,c'.split(',')
' a  b c '.split()
'a,b,c'.split(',', 1)
'a,b,c'.rsplit(',', 1)
'Hello World'.upper() ~ 'ÄÖ'.lower()
'hello world'|title
'hELLO wORLD'|capitalize
'straße'|upper
'a-b'.replace('-', '+')
'aaa'|replace('a','b',2)
'abc'.startswith('ab') and 'abc'.endswith(('x','c'))
[3,1,2]|sort
['b','A','c']|sort
[3,1,2]|sort(reverse=true)|join('-')
[1,2,3]|join
messages|map(attribute='role')|join(', ')
messages|selectattr('role','equalto','user')|list|length
messages|rejectattr('role','eq','user')|map(attribute='content')|list
[1,2,3,4]|select('even')|list
[0,1,'',none]|select|list
[1,2,3]|map('string')|list
['a ',' b']|map('trim')|join
{'b':1,'a':2}|dictsort
{'b':1,'a':2}|items|list
{'b':1,'a':2}.items()|list
{'b':1,'a':2}.keys()|list
{'b':1}.get('b') ~ {'b':1}.get('c') ~ {'b':1}.get('c', 'd')
undefinedvar|default('x')
''|default('x', true)
none|default('x')
{'a':[1,{'b':'é"\n'}],'c':none,'d':1.5}|tojson
{'a':[1,{'b':'é'}],'c':{},'e':[]}|tojson(indent=2)
'<>&\''|tojson
'<>&"\''|e
[1,2,3]|first ~ [1,2,3]|last
'abc'|first
[]|first is defined
[1,2,3]|sum
[1,2]|max ~ [1,2]|min
'3'|int + 4
'x'|int(7)
'3.7'|float
3.7|int
3.14159|round(2)
2.5|round
'a\nb'|indent(2)
'a\nb\n\nc'|indent(4, true)
'abc'|length
'äöü'|length
[1,2,2,1]|unique|list
'abc'|reverse
[1,2,3]|reverse|list
'abc'|list
range(5)|list
range(1,10,3)|list
range(5,0,-2)|list
dict(a=1,b=2)
'a' 'b'
"tab\there \\ \u00e9 \x41"
1 is number and 'a' is string and [1] is iterable and {} is mapping
1 is integer and 1.5 is float and true is boolean
'a' is number
none is none
true is true
1 is true
3 is odd
4 is divisibleby 2
4 is divisibleby(3)
3 is eq 3
'a' is in ['a']
[] is sequence
messages is iterable and messages is not string and messages is not mapping
messages[1].content.strip()
'%s' 
'a b c'.split(' ')|map('upper')|join('_')
'x' * 3
[1] * 2 + [3]
(1,2)|list
not true
not (1 == 2) and 3 > 2 or false
0 or 'x'
'' and 'x'
1 == 1.0
true == 1
'a' < 'b'
[1,2] < [1,3]
strftime_now('%d %b %Y')
strftime_now('%Y-%m-%d %B %A %j')
namespace(a=1).a
messages[0]
messages[4].tool_calls
'a'.join(['1','2'])
'abcabc'.find('c')
'abcabc'.count('b')
'12'.isdigit()
'  x'.lstrip() ~ 'x  '.rstrip() ~ '|'
'prefix-x'.removeprefix('prefix-')
'a\nb\r\nc'.splitlines()
'7'.zfill(3)
[[1,2],[3]]|map('length')|list
{'a':{'b':2}}.a.b
{'a':1}|length
[{'a':{'b':3}}]|map(attribute='a.b')|list
messages|map(attribute='nokey', default='-')|list
'{{ x }}'
"a" if messages and messages[0].role == 'system' else "b"
-1
- 2 + 3
+1
1_000
[1,2,3].index(2)
(messages|length - 1) - 2
messages|batch(2)|list|length
'a & b'|safe
[none, false]|reject('none')|list
1.5 // 1
5.0 % 3
'x'|attr('nope') is defined
{'items': 1}['items']
{'content': 'x'}.content
[1,2,3]|select('gt', 1)|list
['x','y']|map('replace','x','z')|list
'\'quoted\''
"it's"|string
['it\'s "q"']
['\n\t\\']
'%d' ~ 3
1 is sameas 1
[1, 2, 3, 4, 5]|batch(2, 'x')|list'''.split("\n")

TEMPLATES = [
"{% for m in messages %}{{ loop.index }}/{{ loop.length }} {{ m.role }}{% if not loop.last %}, {% endif %}{% endfor %}",
"{% for m in messages if m.role == 'user' %}[{{ loop.index0 }}{{ m.content }}]{% else %}none{% endfor %}",
"{% for x in [] %}a{% else %}empty{% endfor %}",
"{% set x = 1 %}{% for i in range(3) %}{% set x = i %}{% endfor %}{{ x }}",
"{% set ns = namespace(x=1) %}{% for i in range(3) %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}",
"{% if true %}{% set y = 5 %}{% endif %}{{ y }}",
"{% set a, b = 1, 2 %}{{ a }}{{ b }}",
"{% set t %}hello {{ 1 + 1 }}{% endset %}{{ t|upper }}",
"{% set t | trim | upper %}  hello {% endset %}[{{ t }}]",
"{% macro f(a, b=2) %}<{{ a }}:{{ b }}{{ varargs|join }}{{ kwargs|length }}>{% endmacro %}{{ f(1) }}{{ f(1, b=3) }}{{ f(1, 2, 3, z=4) }}",
"{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
"{% macro f() %}({{ caller() }}){% endmacro %}{% call f() %}x{% endcall %}",
"{% macro f() %}({{ caller(1) }}){% endmacro %}{% call(a) f() %}x{{ a }}{% endcall %}",
"{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}",
"{% for i in range(2) %}{% for j in range(2) %}{{ loop.depth }}{{ loop.index }}{{ i }}{{ j }} {% endfor %}{% endfor %}",
"{% for a, b in {'x': 1, 'y': 2}.items() %}{{ a }}={{ b }};{% endfor %}",
"{% for m in messages %}{{ loop.previtem.role if loop.previtem }}>{{ loop.nextitem.role if loop.nextitem is defined }} {% endfor %}",
"{% for x in 'abc' %}{{ loop.cycle('o', 'e') }}{{ x }}{{ loop.revindex }}{{ loop.first }}{% endfor %}",
"{%- for m in messages -%}\n  {{- m.role -}}\n{%- endfor -%}\n  end",
"a\n  {% if true %}\n  b\n  {% endif %}\nc\n",
"a  {%- if true -%}  b  {%- endif -%}  c",
"a\n    {%+ if true %}\n  b {%+ endif +%}\nc",
"x {# comment #} y\n  {# c2 #}\nz {#- c3 -#} w",
"{{ 'a' -}}   b   {{- 'c' }}",
"{{ 'a' }}\n{{ 'b' }}\n",
"  {{ 'a' }}  \n  {% set x = 1 %}  \n{{ x }}",
"{% raw %}{{ no }} {% if %}{% endraw %} after",
"{%- raw -%}  {{ no }}  {%- endraw -%}  after",
"{% if messages[0].role == 'user' %}u{% elif messages[0]['role'] == 'system' %}s{% else %}o{% endif %}",
"{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}",
"{% filter upper %}abc{{ 'd' }}{% endfilter %}",
"{% generation %}x{% endgeneration %}y",
"{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}",
"{{ bos_token }}{{ raise_exception('boom') if false }}{{ unknown_token }}",
"{{ raise_exception('boom') }}",
"{{ undefinedvar.attr }}",
"{{ undefinedvar + 1 }}",
"{{ undefinedvar() }}",
"{{ 1 + 'a' }}",
"{% for x in undefinedvar %}{{ x }}{% else %}E{% endfor %}",
"{% for x in none %}{% endfor %}",
"{{ {'a': 1}.b.c }}",
"{% if %}",
"{% for x in y %}",
"{{ 1",
"{{ x | nofilter }}",
"{{ x is notest }}",
"{% foo %}",
"{{ messages | tojson }}",
"{{ tools | tojson(indent=4) if tools }}",
"{% if tools %}{% for t in tools %}{{ t | tojson }}{% endfor %}{% endif %}",
"{{ messages }}",
"\n\nlead\n",
"\r\n{% if true %}\r\nx\r\n{% endif %}\r\n",
"{{ '{' }}{{ '}' }} { { } } {x} %} }} #}",
"{{ {'a': {'b': 1}} }}",
"{% set x = {'a': 1,} %}{{ x.a }}{{ [1,2,] }}",
"{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{{ system_message }}{{ loop_messages|length }}",
"{% for i in range(3) -%}\n{{ i }}\n{%- endfor %}",
"{% set x = 'a' if true else 'b' %}{{ x }}",
"{{ 'a' if 1 is odd else 'b' }}{{ x is defined and x }}",
"{{ (messages | selectattr('role', 'eq', 'user') | list)[-1].content }}",
"{{ messages[0].content.split()[-1] }}",
"{%- if messages[0]['role'] == 'system' %}{%- set s = messages[0]['content'] %}{%- else %}{%- set s = '' %}{%- endif %}\n{{- s }}",
"{% for k in {'b':1,'a':2} %}{{ k }}{% endfor %}",
"{% set ns = namespace(found=false) %}{% for m in messages %}{% if m.role == 'user' and not ns.found %}{% set ns.found = true %}{{ m.content }}{% endif %}{% endfor %}",
]


def expected(case):
    """The text, or None when jinja2 refuses."""
    try:
        template = compile_template(case["template"])
        template.globals["strftime_now"] = lambda form: datetime.datetime(2026, 11, 22).strftime(form)
        return template.render(messages=case["messages"], tools=case["tools"], documents=None, add_generation_prompt=case["prompt"], **NAMES, **case["variables"])
    except Exception:
        return None


def emit(template, messages, tools=None, prompt=False, variables={}):
    case = {"template": template, "messages": messages, "tools": tools, "prompt": prompt, "variables": variables}
    case["text"] = expected(case)
    print(json.dumps(case, ensure_ascii=False))


def main():
    if len(sys.argv) == 1:
        for expression in EXPRESSIONS:
            emit("{{ " + expression + " }}", MESSAGES)
        for template in TEMPLATES:
            emit(template, MESSAGES)
            emit(template, MESSAGES[1:2], TOOLS, True)
    for path in sys.argv[1:]:
        jinja = os.path.join(path, "chat_template.jinja")
        template = open(jinja).read() if os.path.exists(jinja) else json.load(open(os.path.join(path, "tokenizer_config.json")))["chat_template"]
        for messages in (MESSAGES, MESSAGES[1:], MESSAGES[1:2], MESSAGES[:3], THINKING):
            for tools in (None, TOOLS):
                for prompt in (False, True):
                    for variables in ({}, {"enable_thinking": False}, {"enable_thinking": True}):
                        emit(template, messages, tools, prompt, variables)


if __name__ == "__main__":
    main()
