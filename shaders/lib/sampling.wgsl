// Sampling parameters, by state slot, and results, by sequence of the batch: src/runner/sampler.ts has the other half.

const PARAM_WORDS = 32u;
const STOPS_AT = 16u;
const DRAWN = 8u;
const LEFT = 9u;
const MASKED = 11u;

const RESULT_WORDS = 8u;

const IDLE = 0u;
const RUNNING = 1u;
const LAST = 2u;
