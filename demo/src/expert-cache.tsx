import { useEffect, useRef } from "preact/hooks";
import type { PagingStats } from "sluice";
import { expertTotals, type HeatMap, heatMap } from "./expert-totals.ts";
import { bytes, count, milliseconds, percent } from "./format.ts";
import { usePage } from "./page.ts";
import { Row } from "./row.tsx";

/** What the cache of experts does, where the device holds some of them at a time. */
export function ExpertCache({ paging }: { paging: PagingStats }) {
  const { hits, misses, hitRate, precision, bytes: read, waitMs } = expertTotals(paging);
  return (
    <section>
      <h3>Experts</h3>
      <div class="figure-pair">
        <p>
          <strong id="expert-hits">{hitRate === undefined ? "–" : percent(hitRate)}</strong>
          <span>Hits</span>
        </p>
        <p>
          <strong>{milliseconds(waitMs)}</strong>
          <span>Waited</span>
        </p>
      </div>
      <Picture paging={paging} />
      <dl>
        <Row name="Hits">{count(hits)}</Row>
        <Row name="Misses, waited for">{count(misses)}</Row>
        <Row name="Brought to the device">{bytes(read)}</Row>
        <Row name="Read ahead, and used">{precision === undefined ? "–" : percent(precision)}</Row>
      </dl>
    </section>
  );
}

const MAX_COLUMNS = 128;

function Picture({ paging }: { paging: PagingStats }) {
  const { experts, slots, layers } = paging;
  const canvas = useRef<HTMLCanvasElement>(null);
  usePage(({ settings }) => settings.theme);
  useEffect(() => draw(canvas.current!, heatMap(paging, MAX_COLUMNS)));
  return (
    <figure class="experts">
      <canvas
        ref={canvas}
        role="img"
        aria-label={`${slots} of ${experts} experts are on the device in each of ${layers.length} layers`}
      />
      <figcaption class="hint">
        {layers.length} layers of {experts} experts. Coloured: on the device, {slots} a layer; strong: used a short
        while ago.
      </figcaption>
    </figure>
  );
}

/** Heights of a row, in CSS pixels: many layers are drawn narrower. */
const rowHeight = (rows: number) => Math.max(3, Math.min(10, Math.floor(220 / rows)));

function draw(canvas: HTMLCanvasElement, { rows, columns, levels }: HeatMap): void {
  const scale = devicePixelRatio;
  const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(rows * rowHeight(rows) * scale)];
  if (width === 0) return;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d")!;
  context.clearRect(0, 0, width, height);
  context.fillStyle = getComputedStyle(canvas).color;
  const [stepX, stepY] = [width / columns, height / rows];
  const gap = Math.min(stepX, stepY) >= 4 * scale ? scale : 0;
  for (let i = 0; i < levels.length; i++) {
    context.globalAlpha = levels[i] === 0 ? 0.07 : 0.25 + (0.75 * levels[i]) / 255;
    const [x, y] = [Math.round((i % columns) * stepX), Math.round(Math.floor(i / columns) * stepY)];
    const [endX, endY] = [Math.round(((i % columns) + 1) * stepX), Math.round((Math.floor(i / columns) + 1) * stepY)];
    context.fillRect(x, y, endX - x - gap, endY - y - gap);
  }
}
