import { describe, expect, test } from "vitest";
import { parseTemplate, runTemplate } from "../../src/tokenizer/template-interpreter.ts";

const variables = {
  text: "  hi \n",
  quotes: 'it\'s "q" \\ \n\t\0 é \u200b😀 \u00a0',
  one: 1,
  half: 1.5,
  tiny: 1e-7,
  huge: 1.5e300,
  yes: true,
  no: false,
  nothing: null,
  list: [1, "a", null, true, [1.5]],
  mapping: { a: 1, items: [1, 2], q: { x: null } },
  empty: "",
  odd: "\ufeffa\ufeff\u0085\u001c",
  emoji: "😀😀",
  thought: "<think>\n\n reason \n</think>\n\nanswer\n",
};

/** Templates, and what Python's Jinja2 3.1 renders with the settings of transformers. */
const cases: Record<string, [template: string, rendered: string][]> = {
  "prints as Python does": [
    ["{{ yes }} {{ no }} {{ nothing }} {{ missing }} {{ one }} {{ half }}", "True False None  1 1.5"],
    ["{{ list }} {{ mapping }}", "[1, 'a', None, True, [1.5]] {'a': 1, 'items': [1, 2], 'q': {'x': None}}"],
    ['{{ [quotes] }} {{ ["it\'s"] }}', "['it\\'s \"q\" \\\\ \\n\\t\\x00 é \\u200b😀 \\xa0'] [\"it's\"]"],
    ["{{ tiny }} {{ huge }} {{ 2.0 }} {{ 1/2 }} {{ 4/2 }} {{ 7//2 }}", "1e-07 1.5e+300 2.0 0.5 2.0 3"],
    ["{{ yes|string ~ nothing ~ one ~ half ~ missing }}", "TrueNone11.5"],
    ["{% set x %}  pre {{ yes }}{% endset %}[{{ x }}]", "[  pre True]"],
    ["{{ 'a' if no }}|{{ 'a' if yes else 'b' }}", "|a"],
  ],
  "writes JSON as Python does": [
    [
      "{{ mapping|tojson }} {{ list|tojson }}",
      '{"a": 1, "items": [1, 2], "q": {"x": null}} [1, "a", null, true, [1.5]]',
    ],
    ["{{ quotes|tojson }}", '"it\'s \\"q\\" \\\\ \\n\\t\\u0000 é \u200b😀 \u00a0"'],
    ["{{ tiny|tojson }} {{ 2.0|tojson }} {{ '<&>'|tojson }}", '1e-07 2.0 "<&>"'],
    ["{{ {'a': [1]}|tojson(indent=2) }}", '{\n  "a": [\n    1\n  ]\n}'],
  ],
  "strips what Python strips": [
    ["[{{ text|trim }}][{{ text.strip() }}][{{ text.lstrip() }}][{{ text.rstrip() }}]", "[hi][hi][hi \n][  hi]"],
    ["[{{ text.rstrip('\\n') }}][{{ text.strip(' h') }}]", "[  hi ][i \n]"],
    [
      "{{ odd|trim|tojson }} {{ odd.strip('\\ufeff')|tojson }} {{ one|trim }}",
      '"\ufeffa\ufeff" "a\ufeff\u0085\\u001c" 1',
    ],
    ["{{ thought.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') }}|", " reason |"],
  ],
  "compares as Python does": [
    [
      "{{ 0 == no }} {{ empty == 0 }} {{ nothing == missing }} {{ '1' == 1 }} {{ 1 == 1.0 }}",
      "True False False False True",
    ],
    [
      "{{ [1, 2] == [1, 2] }} {{ {'a': 1} == {'a': 1.0} }} {{ {'a': 1} == {'b': 1} }} {{ one != yes }}",
      "True True False False",
    ],
    [
      "{{ mapping is iterable }} {{ empty is iterable }} {{ one is not iterable }} {{ mapping is mapping }}",
      "True True True True",
    ],
    [
      "{{ nothing is none }} {{ missing is defined }} {{ nothing is defined }} {{ one is true }}",
      "True False True False",
    ],
    ["{{ emoji|length }} {{ list|length }} {{ mapping|length }} {{ missing|length }}", "2 5 3 0"],
  ],
  "loops as Jinja does": [
    ["{% for k, v in mapping.items() %}{{ k }}={{ v }};{% endfor %}", "a=1;items=[1, 2];q={'x': None};"],
    ["{% for k, v in mapping|items %}{{ k }}{% endfor %}", "aitemsq"],
    ["{% for x in missing %}x{% else %}none{% endfor %}{% for x in missing if x %}x{% endfor %}", "none"],
    [
      "{% for i in list %}{% if loop.first %}{% set seen = 1 %}{% endif %}{{ seen is defined }} {% endfor %}",
      "True False False False False ",
    ],
    ["{% set ns = namespace(n=1) %}{% for i in list %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "6"],
    [
      "{% for x in list[::-1] %}{{ loop.index0 }}{{ loop.last }}{{ loop.previtem is defined }}{{ loop.nextitem }} {% endfor %}",
      "0FalseFalseTrue 1FalseTrueNone 2FalseTruea 3FalseTrue1 4TrueTrue ",
    ],
    [
      "{% for i in range(4) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
      "02",
    ],
    ["{{ range(3)|list }} {{ range(5, 1, -2)|list }} {{ range(1, 4)|list }}", "[0, 1, 2] [5, 3] [1, 2, 3]"],
  ],
  "trims blocks and what is left of them": [
    ["  {% if yes %}\n    a\n  {% endif %}\n  {{ one }}  \n {# c #}\nb\n", "    a\n  1  \nb"],
    ["a\r\n{% if yes %}\r\nb\r\n{% endif %}\r\nc", "a\nb\nc"],
    [
      "{% macro m(x, y=false) %}<{{ x }}{{ y }}>{% endmacro %}{{ m('a') }}{{ m(nothing, y=yes) }}",
      "<aFalse><NoneTrue>",
    ],
  ],
};

describe.each(Object.entries(cases))("a template %s", (_, rows) => {
  test.each(rows)("%j", (template, rendered) => {
    expect(runTemplate(parseTemplate(template), variables)).toBe(rendered);
  });
});
