// A sequence's sampling parameters: src/runner/sampler.ts writes them.

const PARAM_WORDS = 32u;
const STOPS_AT = 16u;
const DRAWN = 8u;
const LEFT = 9u;

const IDLE = 0u;
const RUNNING = 1u;
const LAST = 2u;
