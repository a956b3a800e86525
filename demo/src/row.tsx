import type { ComponentChildren } from "preact";

/** A name and its figure, in a list of such. */
export function Row({ name, id, children }: { name: string; id?: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd id={id}>{children}</dd>
    </div>
  );
}
