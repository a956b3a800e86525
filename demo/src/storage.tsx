import type { StoreProbe } from "sluice";
import { bytes, bytesOf } from "./format.ts";
import { Gauge } from "./gauge.tsx";
import { askToKeep, measureStores, useLibrary } from "./library.ts";
import { storeName } from "./stored-models.tsx";

/** How much room there is, whether it is promised, and how fast each store is here. */
export function Storage() {
  const usage = useLibrary(({ usage }) => usage);
  const probes = useLibrary(({ probes, usage }) => probes ?? usage?.probes);
  const isMeasuring = useLibrary(({ isMeasuring }) => isMeasuring);
  if (!usage) return null;
  const { usedBytes, quotaBytes, isPersistent } = usage;
  return (
    <section class="storage">
      <h3>Storage</h3>
      {quotaBytes !== undefined && (
        <>
          <Gauge label="Storage used" value={usedBytes} max={quotaBytes} text={bytesOf(usedBytes, quotaBytes)} />
          <p class="numbers">
            {bytes(usedBytes)} used, {bytes(Math.max(0, quotaBytes - usedBytes))} free
          </p>
        </>
      )}
      <div class="row">
        <p>{isPersistent ? "The browser promised to keep it." : "The browser may delete it when room gets short."}</p>
        {!isPersistent && (
          <button type="button" class="text-button" onClick={askToKeep}>
            Ask it to keep it
          </button>
        )}
      </div>
      {probes && <Probes probes={probes} />}
      <div class="row">
        <p>Large models go where reading is fastest.</p>
        <button type="button" class="text-button" disabled={isMeasuring} onClick={measureStores}>
          {probes ? "Measure again" : "Measure"}
        </button>
      </div>
      <span class="unseen" role="status">
        {isMeasuring ? "Measuring the stores." : ""}
      </span>
    </section>
  );
}

function Probes({ probes }: { probes: readonly StoreProbe[] }) {
  const fastest = probes.reduce((best, probe) => (probe.readBytesPerSecond > best.readBytesPerSecond ? probe : best));
  return (
    <table class="probes">
      <caption class="unseen">How fast the stores of this browser are</caption>
      <thead>
        <tr>
          <th scope="col">Store</th>
          <th scope="col">Reads</th>
          <th scope="col">Writes</th>
        </tr>
      </thead>
      <tbody>
        {probes.map((probe) => (
          <tr key={nameOf(probe)} data-chosen={probe === fastest || undefined}>
            <th scope="row">
              {nameOf(probe)}
              {probe === fastest && <span class="chosen">fastest</span>}
            </th>
            <td>{bytes(probe.readBytesPerSecond)}/s</td>
            <td>{bytes(probe.writeBytesPerSecond)}/s</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function nameOf({ kind, form, readers }: StoreProbe): string {
  if (form) return `${storeName(kind)}, ${{ buffer: "ArrayBuffer", blob: "Blob" }[form]}`;
  return readers === undefined
    ? storeName(kind)
    : `${storeName(kind)}, ${readers === 1 ? "1 reader" : `${readers} readers`}`;
}
