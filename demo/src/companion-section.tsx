import type { CompanionInfo, ModelInfo, Usage } from "sluice";
import { linkStates, openCompanion } from "./companion.ts";
import { wayName } from "./companion-choice.ts";
import { placesOf, speedsBetween } from "./companion-parts.ts";
import { bandwidth, bytes, count, latency, rate } from "./format.ts";
import { usePage } from "./page.ts";
import { Row } from "./row.tsx";
import type { Looks } from "./use-stats.ts";

interface Properties {
  readonly info: ModelInfo;
  readonly looks: Looks | undefined;
  readonly usage: Usage | undefined;
}

/** How the link to a companion is, what runs where, and how fast each part is. */
export function CompanionSection({ info, looks, usage }: Properties) {
  const { choice, probe, link } = usePage(({ companion }) => companion);
  if (!choice) {
    return (
      <section class="section-head">
        <h3>No companion</h3>
        <button type="button" class="text-button" onClick={openCompanion}>
          Connect one
        </button>
      </section>
    );
  }
  const { companion } = info;
  const speed = companion ?? probe;
  const stats = looks?.last.stats;
  const places = placesOf(info, stats);
  return (
    <section class="companion">
      <div class="section-head">
        <h3>Companion</h3>
        <button type="button" class="text-button" onClick={openCompanion}>
          Change
        </button>
      </div>
      <p class="source">{choice.url}</p>
      {speed && (
        <div class="figure-pair">
          <p>
            <strong id="link-latency">{latency(speed.latencyMs)}</strong>
            <span>There and back</span>
          </p>
          <p>
            <strong>{bandwidth(speed.bytesPerSecond)}</strong>
            <span>Both ways</span>
          </p>
        </div>
      )}
      <dl>
        <Row name="Link" id="link-state">
          {companion && companion.mode !== "none" ? linkStates[link ?? "connected"] : "Not used"}
        </Row>
        <Row name="Way" id="companion-way">
          {wayName(companion?.mode ?? "none")}
        </Row>
        <Row name="Here">{places.here}</Row>
        <Row name="There">{places.there}</Row>
      </dl>
      <Speeds info={info} looks={looks} usage={usage} />
      {stats?.companion && (
        <dl>
          <Row name="Sent">{bytes(stats.companion.sentBytes)}</Row>
          <Row name="Received">{bytes(stats.companion.receivedBytes)}</Row>
          {stats.companion.reconnects > 0 && <Row name="Made again">{count(stats.companion.reconnects)} ×</Row>}
        </dl>
      )}
      {companion && Object.keys(companion.predicted).length > 0 && <Foretold companion={companion} />}
    </section>
  );
}

/** Of what was written last: all together, and what each part alone would make. */
function Speeds({ info: { companion }, looks, usage }: Properties) {
  if (!companion || companion.mode === "none") return null;
  if (companion.mode === "requests") {
    return (
      <dl>
        <Row name="Measured there">{rate(companion.hostTokensPerSecond)}</Row>
        <Row name="Arriving here">{rate(usage?.decodeTokensPerSecond ?? 0)}</Row>
      </dl>
    );
  }
  const speeds = looks?.first && speedsBetween(looks.first, looks.last);
  return (
    <dl>
      <Row name="Together">{rate(speeds?.together ?? usage?.decodeTokensPerSecond ?? 0)}</Row>
      <Row name="The part here">{rate(speeds?.here ?? 0)}</Row>
      <Row name="The part there">{rate(speeds?.there ?? 0)}</Row>
    </dl>
  );
}

/** What each way promised when the model was loaded, and what those gave that were tried then. */
function Foretold({ companion: { predicted, tried, mode } }: { companion: CompanionInfo }) {
  const ways = Object.entries(predicted).sort(([, a], [, b]) => b - a);
  return (
    <table class="probes">
      <caption class="unseen">Tokens a second that each way promised, and that were found where it was tried</caption>
      <thead>
        <tr>
          <th scope="col">Way</th>
          <th scope="col">Expected</th>
          <th scope="col">Found</th>
        </tr>
      </thead>
      <tbody>
        {ways.map(([way, speed]) => (
          <tr key={way}>
            <th scope="row">
              {wayName(way)}
              {way === mode && <span class="chosen">chosen</span>}
            </th>
            <td>{rate(speed)}</td>
            <td>{way in tried && rate(tried[way as keyof typeof tried]!)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
