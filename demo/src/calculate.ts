/**
 * The value of an expression of numbers, + - * / % ^ and brackets, as a person would write it.
 *
 * @throws Error that says what it could not read
 */
export function calculate(expression: string): number {
  const tokens =
    expression
      .replace(/×/g, "*")
      .replace(/[÷:]/g, "/")
      .replace(/−/g, "-")
      .match(/\d+(?:[\d,]*\d)?(?:\.\d+)?(?:e[+-]?\d+)?|\.\d+|\*\*|\S/gi) ?? [];
  let at = 0;

  const sides = (symbols: readonly string[], part: () => number): number => {
    let value = part();
    while (symbols.includes(tokens[at])) value = OPERATIONS[tokens[at++]](value, part());
    return value;
  };
  const sum = () => sides(["+", "-"], product);
  const product = () => sides(["*", "/", "%"], signed);
  // A sign binds less than a power: -2 ^ 2 is -4.
  const signed = (): number => {
    if (tokens[at] !== "-" && tokens[at] !== "+") return power();
    return tokens[at++] === "-" ? -signed() : signed();
  };
  const power = (): number => {
    const base = atom();
    if (tokens[at] !== "^" && tokens[at] !== "**") return base;
    at++;
    return base ** signed();
  };
  const atom = (): number => {
    const token = tokens[at++];
    if (token === "(") {
      const value = sum();
      if (tokens[at++] !== ")") throw new Error("A bracket is not closed.");
      return value;
    }
    const value = Number(token?.replaceAll(",", ""));
    if (token === undefined || Number.isNaN(value)) throw new Error(`There is no number at ${token ?? "the end"}.`);
    return value;
  };

  const value = sum();
  if (at < tokens.length) throw new Error(`${tokens[at]} was not expected.`);
  // 0.1 + 0.2 is 0.3 to a person.
  return Number(value.toPrecision(12));
}

const OPERATIONS: Record<string, (a: number, b: number) => number> = {
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
  "*": (a, b) => a * b,
  "/": (a, b) => a / b,
  "%": (a, b) => a % b,
};
