import { invariant } from "../../../errors.ts";
import type { DeviceProfile } from "../../../gpu/profile.ts";
import {
  batchedDown,
  batchedDownRows,
  batchedGateUp,
  batchedMix,
  batchedRoute,
  gateUpRows,
} from "../../../kernels/batched/experts.ts";
import { mixAndQuantize } from "../../../kernels/batched/quantize.ts";
import { teamSums } from "../../../kernels/batched/team-sum.ts";
import { digits, isNibbles, isPacked } from "../../../kernels/decode/digits.ts";
import { sizes } from "../../../kernels/decode/sizes.ts";
import type { GpuContext } from "../gpu-ops.ts";
import type { Deferred, Staged } from "./batched-input.ts";
import { type ExpertParts, MAX_BATCHED_ROWS } from "./fused.ts";

/** Routing, experts and shared expert of some rows; mix and residual, [rows, H], are left to whoever asks for them. */
export function routedExperts(
  gpu: GpuContext,
  { experts, logits, sharedGateUp, sharedGate, sharedDown, residual }: ExpertParts,
  { rows, columns, digits: values, digitScales }: Staged,
): Deferred {
  const { recorder, batchBuffer: batch } = gpu;
  const { profile } = recorder;
  const { gateUp, down, topK } = experts;
  const subgroup = profile.subgroupMaxSize;
  const inner = down.columns;
  const format = gateUp.format;
  invariant(isPacked(format), `${gateUp.label} is ${format}, not packed`);
  invariant(
    [sharedGateUp, sharedGate].every((part) => part.scratch === logits.scratch),
    "the products of the layer's input lie apart",
  );
  const pairs = rows * topK;
  const common = { topK, rows };

  const ids = recorder.tensor("expert ids", rows, topK);
  const weights = recorder.tensor("expert weights", rows, topK + 1);
  const hiddenDigits = recorder.tensor("expert hidden", pairs + rows, inner / 2);
  const hiddenScales = recorder.tensor("expert hidden scales", pairs + rows, inner / 16);
  const workgroup = subgroup * Math.min(ROUTE_SUBGROUPS, Math.floor(profile.maxInvocations / subgroup));
  batchedRoute(recorder, {
    uses: [
      sizes({ ...common, lanes: subgroup, workgroup, share: Math.ceil(experts.experts / subgroup) }),
      digits[format],
    ],
    buffers: { logits, ids, weights, hiddenDigits, hiddenScales, batch },
    constants: { EXPERTS: experts.experts, INNER: inner, SHARED_AT: sharedGateUp.offset, GATE_AT: sharedGate.offset },
    grid: [rows],
  });

  const first = expertSizes(GATE_UP, columns, 2, profile);
  batchedGateUp(recorder, {
    uses: [
      sizes({ ...common, ...first.sizes }),
      digits[format],
      teamSums(first.rows, first.sizes.lanes),
      gateUpRows(first.rows, first.steps),
    ],
    buffers: { digits: values, digitScales, ids, hiddenDigits, hiddenScales, weight: gateUp, batch },
    constants: { INNER: inner },
    grid: [Math.ceil(inner / first.span), pairs],
  });

  const second = expertSizes(DOWN, inner, 1, profile);
  const parts = recorder.tensor("expert parts", pairs + rows, columns);
  batchedDown(recorder, {
    uses: [
      sizes({ ...common, ...second.sizes, sharedRows: SHARED_ROWS }),
      digits[format],
      teamSums(second.rows, second.sizes.lanes),
      batchedDownRows(second.rows, second.steps),
    ],
    buffers: {
      digits: hiddenDigits,
      digitScales: hiddenScales,
      ids,
      y: parts,
      weight: down,
      sharedWeight: sharedDown,
      batch,
    },
    constants: { COLUMNS: columns },
    grid: [Math.ceil(columns / second.span), pairs + Math.ceil(rows / SHARED_ROWS)],
  });

  const y = recorder.tensor("mix-experts", rows, columns);
  const buffers = { parts, weights, residual, y, batch };
  return {
    y,
    alone: () =>
      batchedMix(recorder, {
        uses: [sizes({ ...common, workgroup: MIX_THREADS })],
        buffers,
        constants: { COLUMNS: columns },
        grid: [Math.ceil(columns / (4 * MIX_THREADS)), rows],
      }),
    quantized: (input, outputs) => {
      if (input.kind !== "rmsNorm") return false;
      const { uses, buffers: kept } = outputs.withoutDigits ?? outputs;
      mixAndQuantize(recorder, {
        uses: [sizes({ ...common, ...outputs.threads, ...outputs.sizes }), ...uses],
        buffers: { ...buffers, ...kept, factor: input.norm.weight },
        constants: { COLUMNS: columns, EPS: input.norm.eps },
        grid: [rows],
      });
      return true;
    },
  };
}

const MIX_THREADS = 128;

/** Subgroups of an expert's workgroup, places of a team at a time, and how often it goes on to others. */
interface ExpertShape {
  readonly subgroups: number;
  readonly lanes: number;
  readonly places: number;
  readonly turns: number;
}

const GATE_UP: ExpertShape = { subgroups: 4, lanes: 32, places: 4, turns: 4 };
const DOWN: ExpertShape = { subgroups: 4, lanes: 16, places: 4, turns: 4 };

/** Rows of the shared expert's input that a workgroup takes. */
const SHARED_ROWS = 2;

const ROUTE_SUBGROUPS = 4;

/** The sizes of an expert kernel for a device; `rowsPerPlace` is 2 for gates with their ups. */
function expertSizes(
  { subgroups, lanes, places, turns }: ExpertShape,
  columns: number,
  rowsPerPlace: number,
  profile: DeviceProfile,
) {
  const { subgroupMaxSize: subgroup, maxInvocations, specialize } = profile;
  const blocks = columns / 32;
  const fitLanes = Math.min(lanes, subgroup);
  const steps = Math.ceil(blocks / fitLanes);
  // What a thread can hold of W.
  const held = 2 ** Math.floor(Math.log2((specialize ? 16 : 8) / (steps * rowsPerPlace)));
  const fitPlaces = Math.min(places, Math.max(1, held));
  const workgroup = subgroup * Math.min(subgroups, Math.floor(maxInvocations / subgroup));
  const teams = workgroup / fitLanes;
  // Blocks of 32 places become digits together.
  const fitTurns = Math.max(turns, Math.ceil(32 / (teams * fitPlaces)));
  return {
    sizes: { lanes: fitLanes, teams, workgroup, subgroup, blocks, places: fitPlaces, turns: fitTurns },
    rows: rowsPerPlace * fitPlaces,
    steps,
    span: teams * fitPlaces * fitTurns,
  };
}

export function canMixExperts(
  { x, experts: { gateUp, down, topK, paging }, sharedDown }: Pick<ExpertParts, "x" | "experts" | "sharedDown">,
  profile: DeviceProfile,
): boolean {
  return (
    !paging &&
    x.rows <= MAX_BATCHED_ROWS &&
    isNibbles(gateUp.format) &&
    down.format === gateUp.format &&
    sharedDown.format === down.format &&
    sharedDown.columns === down.columns &&
    down.columns % 32 === 0 &&
    x.rows * (topK + 1) <= profile.maxGrid &&
    x.rows * (expertSizes(GATE_UP, x.columns, 2, profile).span + 2) * 4 <= profile.maxWorkgroupBytes
  );
}
