import { CallView } from "./call-view.tsx";
import { isRunning, type Message, type Reply, type Round } from "./conversation.ts";
import { CopyButton } from "./copy-button.tsx";
import { count, milliseconds, rate } from "./format.ts";
import { Icon } from "./icons.tsx";
import { Markdown } from "./markdown.tsx";
import { memo } from "./memo.ts";
import { MessageEditor } from "./message-editor.tsx";
import { page, type Running } from "./page.ts";
import { ProblemNotice } from "./problem-notice.tsx";
import { regenerate } from "./reply.ts";
import { ThoughtsView } from "./thoughts-view.tsx";

interface Properties {
  readonly message: Message;
  /** How far the reply is, when it is being written here. */
  readonly running: Running | undefined;
  /** Some reply is being written, so no other can be started. */
  readonly isBusy: boolean;
  readonly isEditing: boolean;
  readonly isLast: boolean;
}

export const MessageView = memo(({ message, running, isBusy, isEditing, isLast }: Properties) => {
  const { reply, text } = message;
  return (
    <article
      class={`message ${message.role}`}
      data-last={isLast || undefined}
      aria-busy={isRunning(message) || undefined}
    >
      <h2 class="speaker">{reply?.model ?? "You"}</h2>
      <div class="body">
        {isEditing ? (
          <MessageEditor message={message} />
        ) : reply ? (
          <ReplyText message={message} />
        ) : (
          <p class="question">{text}</p>
        )}
        {running && <Progress running={running} hasText={hasContent(message)} />}
        {reply && !running && <Ending reply={reply} isEmpty={!hasContent(message)} messageId={message.id} />}
        {!isEditing && !isRunning(message) && (
          <div class="actions">
            {text && <CopyButton text={text} label={reply ? "Copy reply" : "Copy message"} />}
            {reply ? (
              <button
                type="button"
                class="icon-button"
                aria-label="Write this reply again"
                title="Write this reply again"
                disabled={isBusy}
                onClick={() => regenerate(message.id)}
              >
                <Icon name="again" />
              </button>
            ) : (
              <button
                type="button"
                class="icon-button"
                data-edit={message.id}
                aria-label="Edit message"
                title="Edit message"
                disabled={isBusy}
                onClick={() => page.set({ editingId: message.id })}
              >
                <Icon name="edit" />
              </button>
            )}
            {reply?.usage && <Figures reply={reply} />}
          </div>
        )}
      </div>
    </article>
  );
});

function ReplyText({ message }: { message: Message }) {
  const { text, reply } = message;
  const { thoughts, calls = [], rounds = [] } = reply!;
  return (
    <>
      {rounds.map((round, i) => (
        <RoundView key={i} round={round} isGrowing={false} />
      ))}
      <RoundView key={rounds.length} round={{ thoughts, text, calls }} isGrowing={isRunning(message)} />
    </>
  );
}

function RoundView({ round: { thoughts, text, calls }, isGrowing }: { round: Round; isGrowing: boolean }) {
  const isThinking = isGrowing && text === "" && calls.length === 0;
  return (
    <>
      {thoughts && <ThoughtsView thoughts={thoughts} isGrowing={isThinking} />}
      {text !== "" && <Markdown text={text} isGrowing={isGrowing} />}
      {calls.map((call) => (
        <CallView key={call.id} call={call} isWriting={isGrowing} />
      ))}
    </>
  );
}

const hasContent = ({ text, reply }: Message): boolean =>
  text !== "" || Boolean(reply?.thoughts || reply?.calls?.length || reply?.rounds?.length);

function Progress({ running, hasText }: { running: Running; hasText: boolean }) {
  const { phase, prompt, tokens, startedAt } = running;
  if (phase === "writing" && hasText) {
    const seconds = (performance.now() - startedAt) / 1000;
    return (
      <p class="progress">
        <span class="flow" />
        {count(tokens)} tokens{seconds > 0.5 && ` · ${rate((tokens - 1) / seconds)}`}
      </p>
    );
  }
  return (
    <p class="progress">
      <span class="flow" />
      {phase === "waiting" && page.state.model.kind === "loading" && "Waiting for the model to load"}
      {phase === "waiting" && page.state.model.kind !== "loading" && "Starting"}
      {phase !== "waiting" &&
        `Reading ${prompt && prompt.total > 64 ? `${count(prompt.done)} of ${count(prompt.total)} tokens` : ""}`}
    </p>
  );
}

function Ending({ reply, isEmpty, messageId }: { reply: Reply; isEmpty: boolean; messageId: string }) {
  if (reply.problem) return <ProblemNotice problem={reply.problem} messageId={messageId} />;
  const words = {
    abort: isEmpty ? "Stopped before the first word." : "Stopped.",
    interrupted: "The page was closed before this reply was finished.",
    length: "Cut off: the reply reached its longest, or the context is full.",
    running: "Being written in another tab.",
    error: "",
    stop: isEmpty ? "The model ended its reply without a word." : "",
    tool_calls: "",
  }[reply.ending];
  return words ? <p class="ending">{words}</p> : null;
}

function Figures({ reply }: { reply: Reply }) {
  const { completionTokens, decodeTokensPerSecond, timeToFirstTokenMs } = reply.usage!;
  return (
    <p class="figures">
      <span>
        {count(completionTokens)} {completionTokens === 1 ? "token" : "tokens"}
      </span>
      {decodeTokensPerSecond > 0 && <span>{rate(decodeTokensPerSecond)}</span>}
      <span>first after {milliseconds(timeToFirstTokenMs)}</span>
    </p>
  );
}
