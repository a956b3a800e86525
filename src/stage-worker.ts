import { connect } from "node:net";
import { loadStage } from "./api/load-stage.ts";
import { packError } from "./api/port.ts";
import { parentPort } from "./platform/node/parent-port.ts";
import { nodePlatform } from "./platform/node/platform.ts";
import { AWAKE_MS, stayAwake } from "./platform/node/rest.ts";
import { listenOnce, SocketLink } from "./platform/node/socket-link.ts";
import type { FromStage, ToStage } from "./platform/node/stage-processes.ts";
import { DrawGate, drawsOf } from "./stages/draw-gate.ts";
import type { StageMessage } from "./stages/messages.ts";
import { Stage } from "./stages/stage.ts";

const parent = parentPort();
const tell = (message: FromStage) => parent.postMessage(message);
let next: SocketLink | undefined;
/** From the last stage to the first. */
let draws: SocketLink | undefined;

parent.addEventListener("message", ({ data }: { readonly data: ToStage }) => {
  const done = data.kind === "load" ? load(data) : connectTo(data);
  done.catch((error) => tell({ kind: "error", error: packError(error) }));
});

async function load(message: Extract<ToStage, { kind: "load" }>): Promise<void> {
  const { source, options, range, isLast, usableVocabulary, path, drawsPath, staysAwake } = message;
  const onBytes = (loaded: number) => tell({ kind: "bytes", loaded });
  const { runner, adapter } = await loadStage(nodePlatform, source, { options, range, usableVocabulary, onBytes });
  const send = (message: StageMessage) => {
    // The first stage waits for it, and nobody yet for what becomes of it.
    const drawn = draws && drawsOf(message);
    if (drawn) draws!.send(drawn);
    next!.send(message);
  };
  const stage = new Stage(runner, isLast, send, { staysAwake });
  const gate = new DrawGate((message) => stage.receive(message));
  await listen(path, staysAwake, (message: StageMessage) => (drawsPath ? gate : stage).receive(message));
  if (drawsPath) await listen(drawsPath, staysAwake, gate.know.bind(gate));
  tell({ kind: "loaded", limits: runner.limits, memory: runner.memory, adapter });
}

async function listen<T>(path: string, staysAwake: boolean, receive: (message: T) => void): Promise<void> {
  const { socket } = await listenOnce(path);
  const onMessage = (message: T) => {
    if (staysAwake) stayAwake(AWAKE_MS);
    receive(message);
  };
  void socket.then((socket) => new SocketLink(socket, onMessage, () => process.exit()));
}

async function connectTo({ path, drawsPath }: Extract<ToStage, { kind: "connect" }>): Promise<void> {
  next = await linkTo(path);
  if (drawsPath) draws = await linkTo(drawsPath);
  tell({ kind: "connected" });
}

async function linkTo(path: string): Promise<SocketLink> {
  const socket = connect(path);
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  const ignore = () => {};
  return new SocketLink(socket, ignore, () => process.exit());
}
