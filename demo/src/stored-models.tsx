import { useEffect, useRef, useState } from "preact/hooks";
import type { StoredModelInfo, StoreKind } from "sluice";
import { isSameAddress, labelOf } from "./address.ts";
import { ago, bytes, bytesOf, duration } from "./format.ts";
import { Gauge } from "./gauge.tsx";
import { Icon } from "./icons.tsx";
import {
  cancelDownload,
  type Download,
  download,
  exportModel,
  refreshLibrary,
  removeModel,
  useLibrary,
} from "./library.ts";
import { loadModel, sprout } from "./model.ts";
import { type ModelChoice, usePage } from "./page.ts";

const LOOK_AGAIN_MS = 2000;

/** The models that can be loaded without a network: Sprout, which comes with the page, and what was stored. */
export function StoredModels() {
  const models = useLibrary(({ models }) => models) ?? [];
  const heading = useRef<HTMLHeadingElement>(null);
  const isGrowing = models.some(({ isComplete }) => !isComplete);

  useEffect(() => {
    void refreshLibrary();
  }, []);
  useEffect(() => {
    // Another tab may be at it, or a model that runs already.
    const timer = isGrowing ? setInterval(refreshLibrary, LOOK_AGAIN_MS) : undefined;
    return () => clearInterval(timer);
  }, [isGrowing]);

  const isSprout = ({ source }: StoredModelInfo) => isSameAddress(source, sprout.source as string);
  const others = models.filter((model) => !isSprout(model));
  return (
    <section>
      <h3 ref={heading} tabIndex={-1}>
        On this device
      </h3>
      <ul class="models">
        <ModelRow choice={sprout} stored={models.find(isSprout)} onRemoved={() => heading.current?.focus()} />
        {others.map((stored) => (
          <ModelRow
            key={stored.source}
            choice={{ label: labelOf(stored.source), source: stored.source }}
            stored={stored}
            onRemoved={() => heading.current?.focus()}
          />
        ))}
      </ul>
    </section>
  );
}

interface RowProperties {
  readonly choice: ModelChoice;
  /** Absent where nothing is stored: of Sprout alone. */
  readonly stored: StoredModelInfo | undefined;
  readonly onRemoved: () => void;
}

function ModelRow({ choice, stored, onRemoved }: RowProperties) {
  const running = useLibrary(({ downloads }) => (stored ? downloads[stored.source] : undefined));
  // "kept": somebody thought better of it, and goes on from where they were.
  const [removal, setRemoval] = useState<"asking" | "kept">();
  const isSprout = choice === sprout;
  return (
    <li>
      <div class="model-name">
        <strong>{choice.label}</strong>
        <span class="source">{isSprout ? "31 million parameters, comes with this page" : stored?.source}</span>
      </div>
      <span class="numbers">{stored && !isRunning(running) && figuresOf(stored)}</span>
      {stored && removal === "asking" ? (
        <Removal
          stored={stored}
          onEnd={(isRemoved) => {
            setRemoval(isRemoved ? undefined : "kept");
            if (isRemoved) onRemoved();
          }}
        />
      ) : (
        <Actions
          choice={choice}
          stored={stored}
          isFetching={isRunning(running)}
          isKept={removal === "kept"}
          onRemove={() => setRemoval("asking")}
        />
      )}
      {stored && isRunning(running) && <Progress stored={stored} label={choice.label} download={running} />}
      {running?.kind === "failed" && (
        <p class="field-problem" role="alert">
          {running.problem.message}
        </p>
      )}
    </li>
  );
}

const isRunning = (download: Download | undefined): download is Extract<Download, { kind: "running" }> =>
  download?.kind === "running";

const stores: Record<StoreKind, string> = {
  indexeddb: "IndexedDB",
  opfs: "private file system",
  memory: "memory",
  files: "files",
};

export const storeName = (kind: StoreKind): string => stores[kind];

const figuresOf = ({ isComplete, storedBytes, sizeBytes, stores, usedAtMs }: StoredModelInfo) =>
  [isComplete ? bytes(sizeBytes) : bytesOf(storedBytes, sizeBytes), stores.map(storeName).join(", "), ago(usedAtMs)]
    .filter(Boolean)
    .join(" · ");

interface ActionProperties {
  readonly choice: ModelChoice;
  readonly stored: StoredModelInfo | undefined;
  readonly isFetching: boolean;
  readonly isKept: boolean;
  readonly onRemove: () => void;
}

function Actions({ choice, stored, isFetching, isKept, onRemove }: ActionProperties) {
  const remove = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (isKept) remove.current?.focus();
  }, [isKept]);
  const isLoaded = usePage(({ model }) => model.kind === "ready" && isSame(model.choice, choice));
  const [isExporting, setExporting] = useState(false);
  const { label } = choice;
  return (
    <div class="model-actions">
      {stored && !stored.isComplete && !isFetching && (
        <button type="button" class="button" aria-label={`Resume ${label}`} onClick={() => download(stored.source)}>
          Resume
        </button>
      )}
      <button
        type="button"
        class="button"
        disabled={isLoaded}
        aria-label={isLoaded ? `${label} is loaded` : `Load ${label}`}
        onClick={() => loadModel(choice)}
      >
        {isLoaded ? "Loaded" : "Load"}
      </button>
      {stored?.isComplete && (
        <button
          type="button"
          class="icon-button"
          disabled={isExporting}
          aria-label={`Export ${label}`}
          title="Save its files as one archive"
          onClick={async () => {
            setExporting(true);
            await exportModel(stored);
            setExporting(false);
          }}
        >
          <Icon name="down" />
        </button>
      )}
      {stored && !isFetching && (
        <button
          ref={remove}
          type="button"
          class="icon-button"
          aria-label={`Delete ${label}`}
          title="Delete from this device"
          onClick={onRemove}
        >
          <Icon name="bin" />
        </button>
      )}
    </div>
  );
}

const isSame = (a: ModelChoice, b: ModelChoice): boolean =>
  typeof a.source === "string" && typeof b.source === "string" && isSameAddress(a.source, b.source);

/** Deleting cannot be taken back, only fetched again. */
function Removal({ stored, onEnd }: { stored: StoredModelInfo; onEnd: (isRemoved: boolean) => void }) {
  const keep = useRef<HTMLButtonElement>(null);
  useEffect(() => keep.current?.focus(), []);
  return (
    <div class="model-actions">
      <span class="numbers">Delete {bytes(stored.storedBytes)}?</span>
      <button
        type="button"
        class="button danger"
        onClick={async () => {
          await removeModel(stored);
          onEnd(true);
        }}
      >
        Delete
      </button>
      <button ref={keep} type="button" class="button" onClick={() => onEnd(false)}>
        Keep
      </button>
    </div>
  );
}

interface ProgressProperties {
  readonly stored: StoredModelInfo;
  readonly label: string;
  readonly download: Extract<Download, { kind: "running" }>;
}

function Progress({ stored, label, download: { report, bytesPerSecond } }: ProgressProperties) {
  const { storedBytes, sizeBytes } = report && report.sizeBytes > 0 ? report : stored;
  const left = bytesPerSecond > 0 ? (sizeBytes - storedBytes) / bytesPerSecond : 0;
  const figures = [
    report ? "Downloading" : "Opening",
    bytesOf(storedBytes, sizeBytes),
    bytesPerSecond > 0 && `${bytes(bytesPerSecond)}/s`,
    left > 0 && `${duration(left)} left`,
  ]
    .filter(Boolean)
    .join(" · ");
  return (
    <div class="download">
      <Gauge role="progressbar" label={`Downloading ${label}`} value={storedBytes} max={sizeBytes} text={figures} />
      <span class="numbers">{figures}</span>
      <button
        type="button"
        class="button"
        aria-label={`Cancel the download of ${label}`}
        onClick={() => cancelDownload(stored.source)}
      >
        Cancel
      </button>
    </div>
  );
}
