interface Properties {
  readonly label: string;
  readonly value: number;
  readonly max: number;
  /** What the figures say in words; read instead of them. */
  readonly text: string;
  readonly role?: "meter" | "progressbar";
}

/** A staff gauge, as it stands in the water at a sluice: a level before tick marks. */
export function Gauge({ label, value, max, text, role = "meter" }: Properties) {
  const share = max > 0 ? Math.min(1, value / max) : 0;
  return (
    // biome-ignore lint/a11y/useAriaPropsSupportedByRole: both roles take these.
    <div
      class="gauge"
      role={role}
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={Math.max(1, max)}
      aria-valuenow={Math.min(value, max)}
      aria-valuetext={text}
      data-high={role === "meter" && share > 0.85 ? true : undefined}
    >
      <div class="gauge-level" style={{ transform: `scaleX(${share})` }} />
    </div>
  );
}
