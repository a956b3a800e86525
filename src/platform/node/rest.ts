/**
 * Dawn's binding asks for results on every turn of the event loop, so that a process waiting for its GPU keeps a core
 * busy, which a software adapter would rather have. While a promise of these methods is open, turns rest a little.
 */
export function restWhileWaiting(globals: Record<string, unknown>): void {
  const waiting = [
    [globals.GPUBuffer, "mapAsync"],
    [globals.GPUQueue, "onSubmittedWorkDone"],
  ] as const;
  for (const [type, method] of waiting) {
    const { prototype } = type as { prototype: Record<string, (...args: unknown[]) => Promise<unknown>> };
    const original = prototype[method];
    prototype[method] = function (...args) {
      const promise = original.apply(this, args);
      open++;
      if (!isTurning) turn(0);
      promise.then(close, close);
      return promise;
    };
  }
}

/**
 * From now on for so long, turns follow each other without rest, whatever is awaited: where the next step's input comes
 * from another process within microseconds, being woken for it would take longer.
 */
export function stayAwake(forMs: number): void {
  awakeUntilMs = performance.now() + forMs;
  if (!isTurning) turn(0);
}

/** Longer than a step takes: after a step the next is expected. */
export const AWAKE_MS = 30;

let open = 0;
let awakeUntilMs = 0;
let isTurning = false;
const close = () => {
  open--;
};

/** Results that come at once are not waited for longer. */
const BUSY_TURNS = 16;
const REST_MS = 0.05;
const cell = new Int32Array(new SharedArrayBuffer(4));

function turn(count: number): void {
  const isAwake = awakeUntilMs > 0 && performance.now() < awakeUntilMs;
  isTurning = isAwake || open > 0;
  if (!isTurning) return;
  if (count >= BUSY_TURNS && !isAwake) Atomics.wait(cell, 0, 0, REST_MS);
  setImmediate(turn, count + 1);
}
