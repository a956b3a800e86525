import { expand } from "../decode/expand.ts";

/** Rows of W and blocks of each that a team's thread holds in registers, and rows of the input it takes at a time. */
export interface Tile {
  readonly rows: number;
  readonly steps: number;
  readonly tokens: number;
}

/**
 * WGSL in which `$loop INPUT … $end` multiplies the input's rows n = begin … end − 1, several at a time, with the weights in
 * w$r_$i and their scales in s$r_$i. INPUT says where row $n lies; the lines between take the
 * products y$r_$t of row n + $t. What is computed for a row does not depend on its neighbours.
 */
export function times(source: string, tile: Tile): string {
  const loops = source.replace(/^\$loop (.*)\n([\s\S]*?)^\$end\n/gm, (_, input, finish) => loop(input, finish, tile));
  return expand(loops, { r: tile.rows, i: tile.steps });
}

function loop(input: string, finish: string, { rows, steps, tokens }: Tile): string {
  const pass = (count: number) => {
    const blocks = Array.from({ length: steps }, (_, i) =>
      `let x$t_$i = inputBlock(${input.replaceAll("$n", "(n + $tu)")}, $iu * LANES + lane);
       sum$r_$t += scaledDot(w$r_$i, s$r_$i, x$t_$i);`.replaceAll("$i", `${i}`),
    );
    const text = ["var sum$r_$t = 0.0;", ...blocks, "let y$r_$t = teamSum(sum$r_$t);", finish].join("\n");
    return expand(text, { r: rows, t: count });
  };
  return `
  var n = begin;
  for (; n + ${tokens}u <= end; n += ${tokens}u) {
${pass(tokens)}
  }
  for (; n < end; n++) {
${pass(1)}
  }
`;
}
