import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";
import { equal, json, length, str, strip, toValue, type Value } from "./python-values.ts";

/** A template, parsed as transformers does it: trim_blocks and lstrip_blocks are on. Fails with `SyntaxError`. */
export function parseTemplate(source: string): Program {
  const program = parse(tokenize(source.replace(/\r\n?/g, "\n"), { trim_blocks: true, lstrip_blocks: true }));
  followJinja(program);
  return program;
}

/** Runs a parsed template. Plain data goes in as variables, functions may be among them. */
export function runTemplate(program: Program, variables: Readonly<Record<string, unknown>>): string {
  const scope = new Environment();
  for (const [name, data] of Object.entries({ ...globals, ...variables })) scope.setVariable(name, toValue(data));
  return str(new PythonInterpreter(scope).run(program));
}

export type Program = ReturnType<typeof parse>;
type Node = Program["body"][number];

const globals = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
  range: (start: number, stop?: number, step = 1): number[] => {
    const [from, to] = stop === undefined ? [0, start] : [start, stop];
    return Array.from({ length: Math.max(0, Math.ceil((to - from) / step)) }, (_, i) => from + i * step);
  },
};

/**
 * Rewrites what the library would run otherwise than Jinja: `{{ x }}` prints `str(x)`, a `set` in a loop lasts for one
 * round of it, and a loop over something undefined has no rounds.
 */
function followJinja(block: object): void {
  for (const name of ["body", "alternate", "defaultBlock"]) {
    const nodes = (block as Record<string, Node[] | undefined>)[name];
    nodes?.forEach((node, i) => {
      if (!STATEMENTS.has(node.type)) nodes[i] = filtered(node, "string");
      followJinja(node);
      if (node.type !== "For") return;
      const loop = node as For;
      loop.body = [Object.assign(parse([]), { body: loop.body })];
      if (loop.iterable.type === "SelectExpression") loop.iterable.lhs = filtered(loop.iterable.lhs, "default([])");
      else loop.iterable = filtered(loop.iterable, "default([])") as For["iterable"];
    });
  }
}

const STATEMENTS = new Set([
  "Set",
  "If",
  "For",
  "Macro",
  "CallStatement",
  "FilterStatement",
  "Break",
  "Continue",
  "Comment",
  "StringLiteral",
]);

/** The syntax tree of `{{ operand | filter }}`. */
function filtered(operand: Node, filter: string): Node {
  return Object.assign(parse(tokenize(`{{ it | ${filter} }}`)).body[0]!, { operand });
}

/** The library's interpreter, with Python's answer wherever the two differ on what chat templates do. */
class PythonInterpreter extends Interpreter {
  override evaluate(node: Node | undefined, scope: Environment): Value {
    switch (node?.type) {
      case "Program":
        return super.evaluate(node, new Environment(scope));
      case "FilterExpression":
        return this.#filter(node as FilterExpression, scope) ?? super.evaluate(node, scope);
      case "BinaryExpression":
        return this.#binary(node as BinaryExpression, scope) ?? super.evaluate(node, scope);
      case "TestExpression":
        return this.#test(node as TestExpression, scope) ?? super.evaluate(node, scope);
      case "CallExpression":
        return this.#method(node as CallExpression, scope) ?? super.evaluate(node, scope);
      default:
        return super.evaluate(node, scope);
    }
  }

  #filter({ operand, filter }: FilterExpression, scope: Environment): Value | undefined {
    if (filter.type !== "Identifier") return undefined;
    const value = () => this.evaluate(operand, scope);
    switch (filter.value) {
      case "string":
        return toValue(str(value()));
      case "trim":
        return toValue(strip(str(value()), SIDES.strip));
      case "tojson":
        return toValue(json(value()));
      case "length":
        return toValue(length(value()));
      default:
        return undefined;
    }
  }

  #binary({ operator, left, right }: BinaryExpression, scope: Environment): Value | undefined {
    const both = (): [Value, Value] => [this.evaluate(left, scope), this.evaluate(right, scope)];
    switch (operator.value) {
      case "~":
        return toValue(both().map(str).join(""));
      case "==":
        return toValue(equal(...both()));
      case "!=":
        return toValue(!equal(...both()));
      default:
        return undefined;
    }
  }

  #test({ operand, test, negate }: TestExpression, scope: Environment): Value | undefined {
    if (test.value !== "iterable") return undefined;
    return toValue(ITERABLE.has(this.evaluate(operand, scope).type) !== negate);
  }

  /** `text.strip(chars)` heeds its argument; `mapping.items()` is the method, also where there is a key "items". */
  #method({ callee, args }: CallExpression, scope: Environment): Value | undefined {
    const { object, property, computed } = callee as MemberExpression;
    if (callee.type !== "MemberExpression" || computed || args.some((node) => !isPositional(node))) return undefined;
    const receiver = this.evaluate(object, scope);
    const name = property.value;
    if (receiver.type === "StringValue" && Object.hasOwn(SIDES, name)) {
      const chars = args[0] && this.evaluate(args[0], scope);
      return toValue(strip(str(receiver), SIDES[name as keyof typeof SIDES], chars?.value as string | undefined));
    }
    const method = receiver.builtins.get(name);
    if (method?.type !== "FunctionValue") return undefined;
    return (method.value as Method)(
      args.map((node) => this.evaluate(node, scope)),
      scope,
    );
  }
}

const SIDES = {
  strip: { left: true, right: true },
  lstrip: { left: true, right: false },
  rstrip: { left: false, right: true },
};
const ITERABLE = new Set(["StringValue", "ArrayValue", "TupleValue", "ObjectValue"]);

function isPositional(node: Node): boolean {
  return !["KeywordArgumentExpression", "SpreadExpression", "KeywordSpreadExpression"].includes(node.type);
}

// The library's syntax tree, as far as it is looked at here; its own classes for it are not exported.
type For = Node & { body: Node[]; iterable: Node & { lhs: Node } };
type Named = Node & { readonly value: string };
type FilterExpression = Node & { readonly operand: Node; readonly filter: Named };
type BinaryExpression = Node & {
  readonly operator: { readonly value: string };
  readonly left: Node;
  readonly right: Node;
};
type TestExpression = Node & { readonly operand: Node; readonly test: Named; readonly negate: boolean };
type CallExpression = Node & { readonly callee: Node; readonly args: readonly Node[] };
type MemberExpression = Node & { readonly object: Node; readonly property: Named; readonly computed: boolean };
type Method = (args: Value[], scope: Environment) => Value;
