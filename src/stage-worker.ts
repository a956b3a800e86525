import { connect } from "node:net";
import { loadStage } from "./api/load-stage.ts";
import { packError } from "./api/port.ts";
import { parentPort } from "./platform/node/parent-port.ts";
import { nodePlatform } from "./platform/node/platform.ts";
import { AWAKE_MS, stayAwake } from "./platform/node/rest.ts";
import { listenOnce, SocketLink } from "./platform/node/socket-link.ts";
import type { FromStage, ToStage } from "./platform/node/stage-processes.ts";
import type { StageMessage } from "./stages/messages.ts";
import { Stage } from "./stages/stage.ts";

const parent = parentPort();
const tell = (message: FromStage) => parent.postMessage(message);
let nextLink: SocketLink | undefined;

parent.addEventListener("message", ({ data }: { readonly data: ToStage }) => {
  receive(data).catch((error) => tell({ kind: "error", error: packError(error) }));
});

async function receive(message: ToStage): Promise<void> {
  if (message.kind === "connect") {
    const socket = connect(message.path);
    await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    nextLink = new SocketLink(
      socket,
      () => {},
      () => process.exit(),
    );
    tell({ kind: "connected" });
    return;
  }
  const { source, options, range, isLast, usableVocabulary, path, staysAwake } = message;
  const onBytes = (loaded: number) => tell({ kind: "bytes", loaded });
  const { runner, adapter } = await loadStage(nodePlatform, source, { options, range, usableVocabulary, onBytes });
  const stage = new Stage(runner, isLast, (message) => nextLink!.send(message));
  const { socket } = await listenOnce(path);
  const receive = (message: StageMessage) => {
    if (staysAwake) stayAwake(AWAKE_MS);
    stage.receive(message);
  };
  void socket.then((socket) => new SocketLink(socket, receive, () => process.exit()));
  tell({ kind: "loaded", limits: runner.limits, memory: runner.memory, adapter });
}
