/** Strokes on a 20 × 20 grid. */
const paths = {
  menu: "M3 5.5h14M3 10h14M3 14.5h9",
  plus: "M10 4v12M4 10h12",
  close: "M5 5l10 10M15 5L5 15",
  copy: "M7.5 7.5h8v9h-8zM4.5 12.5v-9h8",
  check: "M4 10.5l4 4 8-9",
  again: "M15.5 6.5A6.5 6.5 0 1 0 16.5 11M16 3v4h-4",
  edit: "M4 16l.8-3.4L13.4 4l2.6 2.6-8.6 8.6zM11.5 6l2.5 2.5",
  up: "M10 16V4.5M5 9l5-5 5 5",
  down: "M10 4v11.5M5 11l5 5 5-5",
  bin: "M4 5.5h12M8 5.5V3.5h4v2M5.5 5.5l.75 11h7.5l.75-11M8.5 8.5v5M11.5 8.5v5",
  stop: "M6 6h8v8H6z",
  sliders: "M3 6h7M14 6h3M3 14h3M10 14h7M12 4v4M8 12v4",
  pulse: "M2.5 10h3.5l2-5.5 3.5 11 2-5.5h4",
  folder: "M3 5.5h5l1.5 2H17v8H3z",
  link: "M8.5 11.5l3-3M9 6.5l1.5-1.5a3 3 0 0 1 4.5 4.5L13.5 11M11 13.5L9.5 15A3 3 0 0 1 5 10.5L6.5 9",
  sprout: "M10 17v-7M10 10C10 6.5 7.5 4.5 3.5 4.5 3.5 8 6 10 10 10zM10 12c0-3 2.2-4.7 6-4.7 0 3-2.2 4.7-6 4.7z",
  more: "M4.5 10h.01M10 10h.01M15.5 10h.01",
  sun: "M10 6.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM10 2v1.5M10 16.5V18M2 10h1.5M16.5 10H18M4.3 4.3l1.1 1.1M14.6 14.6l1.1 1.1M4.3 15.7l1.1-1.1M14.6 5.4l1.1-1.1",
  moon: "M16 11.8A6.5 6.5 0 0 1 8.2 4a6.5 6.5 0 1 0 7.8 7.8z",
  tool: "M12.5 3.5a4 4 0 0 0-4.8 5.3L3.5 13a2.1 2.1 0 0 0 3 3l4.3-4.2a4 4 0 0 0 5.2-4.9l-2.3 2.3-2.3-.6-.6-2.3z",
  warn: "M10 3.5l7 12.5H3zM10 8.5v3.5M10 14.2h.01",
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}

/** Two posts, a gate between them, and the water: the gate is up while text flows. */
export function Mark({ isOpen = false }: { isOpen?: boolean }) {
  return (
    <svg class="mark" data-open={isOpen || undefined} viewBox="0 0 24 24" aria-hidden="true">
      <path
        class="mark-water"
        d="M6.5 18.2q1.4-1.6 2.75 0t2.75 0 2.75 0 2.75 0M6.5 21.5q1.4-1.6 2.75 0t2.75 0 2.75 0 2.75 0"
      />
      <g class="mark-gate">
        <path d="M9 3v5.5M15 3v5.5" />
        <rect x="6.5" y="8.5" width="11" height="6.5" />
      </g>
      <path d="M3.5 21.5V3h17v18.5" />
    </svg>
  );
}
