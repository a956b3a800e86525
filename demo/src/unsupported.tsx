import type { ComponentChildren } from "preact";
import { openCompanion } from "./companion.ts";
import { CopyButton } from "./copy-button.tsx";
import { reloadModel } from "./model.ts";
import { type Browser, browserAtHand, type Obstacle } from "./webgpu.ts";

const reasons: Record<Obstacle, string> = {
  insecure:
    "Browsers offer WebGPU to secure pages only, and this one came over plain http. Open it through https://, or from localhost.",
  "no-api": "This browser has no WebGPU, or it is switched off.",
  "no-adapter":
    "This browser has WebGPU, but found no graphics device for it. Often hardware acceleration is off, or the driver is on a block list.",
};

/** What to do about a missing WebGPU, the reader's own browser first. */
export function Unsupported({ obstacle }: { obstacle: Obstacle }) {
  const here = browserAtHand();
  const browsers = (Object.keys(advice) as Browser[]).sort((a, b) => Number(b === here) - Number(a === here));
  return (
    <section class="unsupported" aria-labelledby="unsupported">
      <h2 id="unsupported">Sluice needs WebGPU</h2>
      <p>It runs the model on your graphics processor, through WebGPU. {reasons[obstacle]}</p>
      <button type="button" class="button primary" onClick={reloadModel}>
        Try again
      </button>
      {obstacle !== "insecure" && (
        <>
          <p>Or let a server write the replies; that needs no WebGPU here.</p>
          <button type="button" class="button" onClick={openCompanion}>
            Connect a companion
          </button>
        </>
      )}
      {obstacle !== "insecure" &&
        browsers.map((browser) => (
          <details key={browser} open={browser === here}>
            <summary>{advice[browser].name}</summary>
            {advice[browser].steps}
          </details>
        ))}
    </section>
  );
}

const advice: Record<Browser, { readonly name: string; readonly steps: ComponentChildren }> = {
  chrome: {
    name: "Chrome, Edge and other Chromium browsers",
    steps: (
      <ol>
        <li>Update to version 113 or later (on Android: 121, with Android 12).</li>
        <li>
          At <Address text="chrome://settings/system" /> switch on “Use graphics acceleration when available”, and
          restart.
        </li>
        <li>
          On Linux, set both <Address text="chrome://flags/#enable-unsafe-webgpu" /> and{" "}
          <Address text="chrome://flags/#enable-vulkan" /> to Enabled, and restart. From version 144 Intel GPUs of
          generation 12 and later need neither.
        </li>
        <li>
          Still nothing? <Address text="chrome://gpu" /> tells why, in the line WebGPU.
        </li>
      </ol>
    ),
  },
  firefox: {
    name: "Firefox",
    steps: (
      <ol>
        <li>
          Update: WebGPU is on from version 141 on Windows, 145 on Macs with Apple silicon and macOS 26, 147 with
          earlier ones.
        </li>
        <li>
          Elsewhere, Linux included, open <Address text="about:config" /> and set <Address text="dom.webgpu.enabled" />{" "}
          to true. Where that does nothing, Firefox Nightly may do.
        </li>
        <li>
          <Address text="about:support" /> lists what it found, under Graphics.
        </li>
      </ol>
    ),
  },
  safari: {
    name: "Safari",
    steps: (
      <ol>
        <li>Safari 26 has WebGPU switched on: update to macOS 26, iOS 26 or iPadOS 26.</li>
        <li>
          On macOS before that, Safari 18: Develop menu, Feature Flags, WebGPU. The menu is switched on in Settings,
          Advanced.
        </li>
        <li>On iOS 18: Settings, Apps, Safari, Advanced, Feature Flags, WebGPU.</li>
      </ol>
    ),
  },
};

/** Pages may not link to a browser's own addresses. */
function Address({ text }: { text: string }) {
  return (
    <span class="address">
      <code>{text}</code>
      <CopyButton text={text} label={`Copy ${text}`} />
    </span>
  );
}
