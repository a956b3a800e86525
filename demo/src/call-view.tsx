import type { Call } from "./conversation.ts";
import { Icon } from "./icons.tsx";

/** A call: what it says in a line, and all of it when opened. */
export function CallView({ call, isWriting }: { call: Call; isWriting: boolean }) {
  return (
    <details class="call" data-failed={isFailure(call.result) || undefined}>
      <summary>
        <Icon name="tool" />
        <code>
          {call.name}({shortArguments(call.arguments)})
        </code>
        {call.result !== undefined && <span class="call-result">{shortResult(call.result)}</span>}
        {isWriting && <span class="flow" />}
      </summary>
      <dl>
        <dt>Arguments</dt>
        <dd>
          <pre>{pretty(call.arguments)}</pre>
        </dd>
        {call.result !== undefined && (
          <>
            <dt>Result</dt>
            <dd>
              <pre>{pretty(call.result)}</pre>
            </dd>
          </>
        )}
      </dl>
    </details>
  );
}

/** What is being written is no JSON yet. */
function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

function pretty(json: string): string {
  const value = parsed(json);
  return value === undefined ? json : JSON.stringify(value, undefined, 2);
}

function shortArguments(json: string): string {
  const value = parsed(json);
  if (typeof value !== "object" || value === null) return json;
  return Object.entries(value)
    .map(([key, item]) => `${key}: ${JSON.stringify(item)}`)
    .join(", ");
}

/** A result of one field is that field. */
function shortResult(json: string): string {
  const value = parsed(json);
  const fields = typeof value === "object" && value !== null ? Object.values(value) : [];
  return fields.length === 1 ? String(fields[0]) : json;
}

function isFailure(result: string | undefined): boolean {
  const value = result === undefined ? undefined : parsed(result);
  return typeof value === "object" && value !== null && "error" in value;
}
