import type { Fragment } from "../../gpu/shader.ts";

/** The sum over `lanes` neighbouring threads, a power of two, of a subgroup that is `subgroup` wide. */
export function laneSum(lanes: number, subgroup: number): Fragment {
  const steps = Array.from({ length: Math.log2(lanes) }, (_, i) => `s += subgroupShuffleXor(s, ${2 ** i}u);`);
  const body = lanes === subgroup ? "return subgroupAdd(x);" : `var s = x; ${steps.join(" ")} return s;`;
  return { name: "lane-sum", source: `fn teamSum(x: f32) -> f32 { ${body} }` };
}

/**
 * The sums of `count` numbers over `lanes` neighbouring threads, powers of two, in fewer steps than one by one: a thread gets that
 * of number ⌊lane / SHARE⌋. Each is added up in the same order.
 */
export function teamSums(count: number, lanes: number): Fragment {
  let values = Array.from({ length: count }, (_, r) => `s${r}`);
  const parameters = values.map((name) => `${name}: f32`).join(", ");
  const lines: string[] = [];
  let stage = 0;
  for (let half = lanes / 2; half >= 1; half /= 2, stage++) {
    const isUpper = `(lane & ${half}u) != 0u`;
    const pairs = values.length / 2;
    values = Array.from({ length: Math.max(1, pairs) }, (_, i) => {
      const [low, high] = [values[i], values[i + pairs]];
      const name = `t${stage}_${i}`;
      lines.push(
        values.length === 1
          ? `let ${name} = ${low} + subgroupShuffleXor(${low}, ${half}u);`
          : `let ${name} = select(${low}, ${high}, ${isUpper}) + subgroupShuffleXor(select(${high}, ${low}, ${isUpper}), ${half}u);`,
      );
      return name;
    });
  }
  return {
    name: "team-sums",
    source: `const SHARE = ${lanes / count}u;
fn teamSums(${parameters}, lane: u32) -> f32 {
${lines.join("\n")}
return ${values[0]};
}`,
  };
}
