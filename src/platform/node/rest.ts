import { setImmediate as queueTurn } from "node:timers";

/**
 * Dawn's binding asks for results on every turn of the event loop: it hands the global `setImmediate` a function that asks, and
 * makes another one for the next turn. Each leaves 0.65 kB that only a mark-compact frees, and a process that waits for its
 * GPU keeps a core busy, which a software adapter would rather have. So these functions are taken from it, and called when it
 * is worth asking; and turns rest while a result is awaited.
 */
export function restWhileWaiting(globals: Record<string, unknown>): void {
  for (const [type, methods] of Object.entries(ASYNC)) {
    const { prototype } = globals[type] as { prototype: Record<string, Method> };
    for (const method of methods) prototype[method] = waiting(prototype[method], RESULTS.includes(method));
  }
}

/**
 * From now on for so long, turns follow each other without rest, whatever is awaited: where the next step's input comes
 * from another process within microseconds, being woken for it would take longer.
 */
export function stayAwake(forMs: number): void {
  awakeUntilMs = performance.now() + forMs;
  beginTurning();
}

/** Longer than a step takes: after a step the next is expected. */
export const AWAKE_MS = 30;

type Method = (...args: unknown[]) => Promise<unknown>;

/** All that the binding asks for. */
const ASYNC: Readonly<Record<string, readonly string[]>> = {
  GPUAdapter: ["requestDevice"],
  GPUDevice: ["createComputePipelineAsync", "createRenderPipelineAsync", "popErrorScope"],
  GPUShaderModule: ["getCompilationInfo"],
  GPUBuffer: ["mapAsync"],
  GPUQueue: ["onSubmittedWorkDone"],
};
/** What the device has to compute first. */
const RESULTS = ["mapAsync", "onSubmittedWorkDone"];
/** `GPUMapMode.READ`: steps end with it. */
const READ = 1;

/** Results that come at once are not waited for longer. */
const BUSY_TURNS = 16;
const REST_MS = 0.05;
/** A rest is this part of what a result is away from when it should come, within bounds. */
const REST_PART = 1 / 4;
const LONGEST_REST_MS = 0.25;
/** Awake, turns are this long: each makes garbage, and a shorter one would hear little earlier of what comes. */
const TURN_MS = 0.004;
/** Awake, this long lies between two questions at most, or this part of what a result is away from when it should come. */
const ASK_MS = 0.1;
const ASK_PART = 1 / 8;

const cell = new Int32Array(new SharedArrayBuffer(4));
let isTurning = false;
/** Since turning began. */
let turns = 0;
let turnMs = 0;
let awakeUntilMs = 0;
/** How often memory is read to fill up a turn. */
let fill = 0;

/** Functions that ask: one of each GPU of which something is awaited. */
let questions: (() => void)[] = [];
let askedMs = 0;
/** Results that are awaited, and those of them that are read. */
let open = 0;
let reading = 0;
/** When the device could begin with what is read next, and how long it had for those before: steps of several sizes may take turns. */
let readSinceMs = 0;
const readMs = new Float64Array(4);
let reads = 0;

function waiting(original: Method, isResult: boolean): Method {
  return function (this: unknown, ...args) {
    const promise = withoutTurns(() => original.apply(this, args));
    if (isResult) watch(promise, args[0] === READ);
    beginTurning();
    return promise;
  };
}

/** Whatever `call` would do on the next turn of the event loop becomes a question. */
function withoutTurns<T>(call: () => T): T {
  const { setImmediate } = globalThis;
  globalThis.setImmediate = takeQuestion as unknown as typeof setImmediate;
  try {
    return call();
  } finally {
    globalThis.setImmediate = setImmediate;
  }
}

function takeQuestion(question: () => void): void {
  questions.push(question);
}

function watch(result: Promise<unknown>, isRead: boolean): void {
  open++;
  if (isRead && reading++ === 0) readSinceMs = performance.now();
  const done = isRead ? endRead : end;
  result.then(done, done);
}

function end(): void {
  open--;
}

function endRead(): void {
  open--;
  reading--;
  const now = performance.now();
  readMs[reads++ % readMs.length] = now - readSinceMs;
  readSinceMs = now;
}

function beginTurning(): void {
  if (isTurning) return;
  isTurning = true;
  turns = 0;
  queueTurn(turn);
}

function turn(): void {
  const now = performance.now();
  const isAwake = now < awakeUntilMs;
  isTurning = isAwake || open > 0 || questions.length > 0;
  if (!isTurning) return;
  queueTurn(turn);
  if (isAwake) fillUp(now);
  else if (open > 0 && turns++ >= BUSY_TURNS) rest(now);
  // Last of all: who waits for a result hears of it behind this turn.
  if (questions.length > 0 && (!isAwake || now - askedMs >= Math.min(ASK_MS, awayMs(now) * ASK_PART))) ask(now);
}

/** Makes a turn as long as it shall be, having learnt from those before how. Asking for the time would make garbage itself. */
function fillUp(now: number): void {
  fill = Math.max(0, fill + (now - turnMs < TURN_MS ? 8 : -8));
  turnMs = now;
  for (let i = 0; i < fill; i++) Atomics.load(cell, 0);
}

function rest(now: number): void {
  const ms = reading > 0 ? Math.min(LONGEST_REST_MS, awayMs(now) * REST_PART) : 0;
  Atomics.wait(cell, 0, 0, Math.max(REST_MS, ms));
}

/** How far off it is that a step has taken as long as one of those before: they take turns, and are much alike. */
function awayMs(now: number): number {
  let away = Number.POSITIVE_INFINITY;
  if (reading > 0) for (const ms of readMs) away = Math.min(away, Math.abs(readSinceMs + ms - now));
  return away;
}

function ask(now: number): void {
  askedMs = now;
  const due = questions;
  questions = [];
  withoutTurns(() => {
    for (const question of due) question();
  });
}
