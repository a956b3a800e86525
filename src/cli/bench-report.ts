import type { BenchReport } from "./bench.ts";
import { profileText } from "./profile.ts";
import { bytesText, countText, rateText, table } from "./text.ts";

/** What was measured, for people. */
export function reportText(report: BenchReport): string {
  const { model, device, settings, prefill, decode, version, commit, profile, batches } = report;
  const head = ["", "median", "p95", ""];
  const speeds = [
    ...prefill.flatMap(({ prompt, tokensPerSecond, timeToFirstTokenMs }) => [
      [`prefill of ${prompt} tokens`, ...rate(tokensPerSecond), "tokens/s"],
      ["  time to first token", ...rate(timeToFirstTokenMs), "ms"],
    ]),
    ...decode.flatMap(({ depth, tokensPerSecond, cpuMsPerToken, gigabytesPerSecond, shareOfBandwidth }) => [
      [`decode of ${settings.tokens} tokens after ${depth}`, ...rate(tokensPerSecond), "tokens/s"],
      ["  CPU time a token", cpuMsPerToken.toFixed(3), "", "ms"],
      ...(gigabytesPerSecond === undefined
        ? []
        : [["  bytes moved", gigabytesPerSecond.toFixed(2), "", `GB/s${shareText(shareOfBandwidth)}`]]),
    ]),
  ];
  const parts = [
    `${model.label}: ${countText(model.parameters.total)} parameters, ${model.quantization === "auto" ? "weights as they are" : model.quantization}\n` +
      `${device.name}, ${device.dtype}; sluice ${version}${commit ? ` (${commit})` : ""}; medians of ${settings.repeats}`,
    table([head, ...speeds], { left: [0, 3] }),
    table(facts(report), { left: [0, 1] }),
  ];
  if (batches.length > 0) parts.push(batchText(batches));
  for (const step of profile ?? []) parts.push(profileText(step));
  return parts.join("\n\n");
}

const rate = ({ median, p95 }: { median: number; p95: number }) => [rateText(median), rateText(p95)];

const shareText = (share: number | undefined): string =>
  share === undefined ? "" : `, ${(100 * share).toFixed(1)} % of the bandwidth`;

function facts(report: BenchReport): string[][] {
  const {
    decode: [decode],
    memory,
    loadMs,
    weightsMs,
    experts,
    dispatchesPerToken,
    bandwidth,
  } = report;
  const { weightBytesPerToken, bytesPerToken, readbacksPerToken } = decode;
  return [
    ["loading and compiling", `${(loadMs / 1000).toFixed(1)} s`],
    ...(weightsMs === undefined
      ? []
      : [
          [
            "  weights alone",
            `${(weightsMs / 1000).toFixed(1)} s, ${(memory.weights / weightsMs / 1e6).toFixed(2)} GB/s`,
          ],
        ]),
    ...(dispatchesPerToken === undefined
      ? []
      : [
          ["dispatches a token", String(dispatchesPerToken)],
          ["readbacks a token", String(readbacksPerToken)],
          ["moved a token", `${bytesText(bytesPerToken!)}, of it weights ${bytesText(weightBytesPerToken!)}`],
        ]),
    ...(bandwidth === undefined ? [] : [["reading speed of the device", `${(bandwidth / 1e9).toFixed(1)} GB/s`]]),
    ["memory planned", bytesText(memory.total)],
    ...(memory.allocated === undefined ? [] : [["memory allocated", bytesText(memory.allocated)]]),
    ...pagingFacts(report),
    ...experts.map(({ tokens, distinct, uniform, of }) => [
      `experts of ${tokens} tokens`,
      `${distinct.toFixed(0)} of ${of} a layer (${uniform.toFixed(0)} if all were as likely)`,
    ]),
  ];
}

/** What came and went, where the device holds some of the experts at a time. */
function pagingFacts({ paging, prefill, decode: [decode] }: BenchReport): string[][] {
  if (!paging || !decode.paging) return [];
  const { hitRate, bytesPerToken, diskBytesPerToken, waitMsPerToken, readAheadPerToken, usefulShare } = decode.paging;
  const percent = (share: number) => `${(100 * share).toFixed(0)} %`;
  const fromDisk = diskBytesPerToken === undefined ? "" : `, of it from the disk ${bytesText(diskBytesPerToken)}`;
  return [
    [
      "experts on the device",
      `${paging.slots} of ${paging.experts} a layer, which had ${percent(hitRate)} of what was asked for`,
    ],
    ["experts read a token", `${bytesText(bytesPerToken)}${fromDisk}`],
    ["  ahead of their use", `${readAheadPerToken.toFixed(1)}, of them used ${percent(usefulShare)}`],
    ["  waited for", `${waitMsPerToken.toFixed(1)} ms a token`],
    ...prefill.map(({ prompt, paging }) => [
      `experts read for a prompt of ${prompt}`,
      bytesText(prompt * paging!.bytesPerToken),
    ]),
    ["reading speed of their store", `${bytesText(paging.storeBytesPerSecond!)}/s`],
  ];
}

const batchText = (batches: BenchReport["batches"]): string =>
  table([
    ["sequences at once", "tokens/s", "p95", "ms a step", "× one"],
    ...batches.map(({ sequences, tokensPerSecond, stepMs }) => [
      String(sequences),
      ...rate(tokensPerSecond),
      stepMs.toFixed(2),
      (tokensPerSecond.median / batches[0].tokensPerSecond.median).toFixed(2),
    ]),
  ]);
