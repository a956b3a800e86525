import { promisifyRequest, type UseStore } from "idb-keyval";

const DATABASE = "sluice";
/** Records and what is known of them: apart, so that looking for something never walks over weights. */
const TABLES = ["records", "index"] as const;

/**
 * Opens a table of the database, for idb-keyval. The connection gives way when somebody deletes the database or a later
 * version of this program changes it, and is opened anew by the next use; so it is when the browser has closed it.
 */
export function openTable(table: (typeof TABLES)[number]): { use: UseStore; close: () => void } {
  let opening: Promise<IDBDatabase> | undefined;
  const close = () => {
    opening?.then((database) => database.close()).catch(() => {});
    opening = undefined;
  };
  const open = () => {
    opening ??= connect().then((database) => {
      database.onversionchange = close;
      database.onclose = close;
      return database;
    });
    opening.catch(() => {
      opening = undefined;
    });
    return opening;
  };
  const use: UseStore = async (mode, callback) => {
    const begin = async () =>
      callback((await open()).transaction(table, mode, { durability: "relaxed" }).objectStore(table));
    return begin().catch((error: DOMException) => {
      // The connection was closed since.
      if (error.name !== "InvalidStateError") throw error;
      close();
      return begin();
    });
  };
  return { use, close };
}

function connect(): Promise<IDBDatabase> {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => {
    for (const table of TABLES) request.result.createObjectStore(table);
  };
  return promisifyRequest(request);
}
