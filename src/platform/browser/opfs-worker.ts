import { FOLDER, type OpfsReply, type OpfsRequest } from "./opfs-port.ts";

/** Reads and writes files of the origin's private file system: only a worker may do that without waiting in between. */

interface SyncAccessHandle {
  read(bytes: Uint8Array, options: { at: number }): number;
  write(bytes: Uint8Array, options: { at: number }): number;
  flush(): void;
  close(): void;
}

interface SyncFileHandle extends FileSystemFileHandle {
  createSyncAccessHandle(options: { mode: "readwrite-unsafe" }): Promise<SyncAccessHandle>;
}

const handles = new Map<string, Promise<SyncAccessHandle>>();

addEventListener("message", async ({ data }: MessageEvent<OpfsRequest>) => {
  const { id } = data;
  try {
    const bytes = await answer(data);
    reply({ id, bytes }, bytes ? [bytes.buffer] : []);
  } catch (error) {
    const { name, message } = error as Error;
    reply({ id, error: { name, message } });
  }
});

const reply = (message: OpfsReply, transfer: Transferable[] = []) => postMessage(message, { transfer });

async function answer(request: OpfsRequest): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const { file } = request;
  switch (request.kind) {
    case "read":
      return read(file, request.from, request.to);
    case "write": {
      const { bytes, from } = request;
      const handle = await open(file);
      for (let done = 0; done < bytes.length; ) {
        // A disk that is nearly full takes a part, and does not say so.
        const written = handle.write(bytes.subarray(done), { at: from + done });
        if (written === 0) throw new DOMException("the browser wrote nothing more", "QuotaExceededError");
        done += written;
      }
      return undefined;
    }
    case "flush":
      (await open(file)).flush();
      return undefined;
    case "close":
      await handles.get(file)?.then((handle) => handle.close());
      handles.delete(file);
      return undefined;
  }
}

async function read(file: string, from: number, to: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const bytes = new Uint8Array(to - from);
  let handle: SyncAccessHandle;
  try {
    handle = await open(file);
  } catch (error) {
    if ((error as Error).name !== "NoModificationAllowedError") throw error;
    // A browser without shared handles, and another tab has this one. Slower, but it reads.
    const whole = await (await fileHandle(file)).getFile();
    return whole.size < to ? undefined : new Uint8Array(await whole.slice(from, to).arrayBuffer());
  }
  return handle.read(bytes, { at: from }) === bytes.length ? bytes : undefined;
}

/** Opening takes longer than reading a record, so handles stay open. */
function open(file: string): Promise<SyncAccessHandle> {
  let handle = handles.get(file);
  if (!handle) {
    handle = fileHandle(file).then((file) => file.createSyncAccessHandle({ mode: "readwrite-unsafe" }));
    handles.set(file, handle);
    handle.catch(() => handles.delete(file));
  }
  return handle;
}

async function fileHandle(file: string): Promise<SyncFileHandle> {
  const root = await navigator.storage.getDirectory();
  const folder = await root.getDirectoryHandle(FOLDER, { create: true });
  return (await folder.getFileHandle(file, { create: true })) as SyncFileHandle;
}
