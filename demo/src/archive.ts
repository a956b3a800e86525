import { createStore, del, get, update, values } from "idb-keyval";
import type { Conversation } from "./conversation.ts";

/*
 * Conversations in IndexedDB, one record each. Every change is a function of what is stored and runs in one transaction,
 * so two tabs may write the same conversation without undoing each other; each tells the others what it touched.
 */

const store = createStore("sluice-demo", "conversations");
const channel = new BroadcastChannel("sluice-demo");

export function readAll(): Promise<Conversation[]> {
  return values<Conversation>(store);
}

export function read(id: string): Promise<Conversation | undefined> {
  return get<Conversation>(id, store);
}

/** `ours` is the base when nothing is stored: a new conversation, or one that another tab has deleted meanwhile. */
export async function change(ours: Conversation, edit: (stored: Conversation) => Conversation): Promise<void> {
  await update<Conversation>(ours.id, (stored) => edit(stored ?? ours), store);
  channel.postMessage(ours.id);
}

export async function remove(id: string): Promise<void> {
  await del(id, store);
  channel.postMessage(id);
}

/** Calls back with the id of a conversation that another tab has changed or removed. */
export function onChangeElsewhere(listener: (id: string) => void): void {
  channel.addEventListener("message", ({ data }) => listener(data as string));
}

/** Holds a message while it is being written, so that other tabs, and this one after a reload, know that somebody is at it. */
export async function whileWriting(messageId: string, work: () => Promise<void>): Promise<void> {
  await navigator.locks.request(lockOf(messageId), work);
}

export async function findWriters(): Promise<(messageId: string) => boolean> {
  const { held = [] } = await navigator.locks.query();
  const names = new Set(held.map(({ name }) => name));
  return (messageId) => names.has(lockOf(messageId));
}

const lockOf = (messageId: string) => `sluice-demo:${messageId}`;
