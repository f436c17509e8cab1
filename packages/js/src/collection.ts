import type * as wasm from "../wasm/headwater.js";
import type { Author, Conflict, ConflictChange, ConflictPlace, FieldAuthor, Settlement } from "./conflict.js";
import type { Fields, NewRecord, Patch } from "./values.js";

/** What a write did, in numbers of records. */
export interface Written {
  inserted: number;
  updated: number;
  /** Records that were already as they should be. */
  unchanged: number;
  deleted: number;
  /** The changes that did it, as pairs of a document and a change, for `undo`. */
  changes: [string, string][];
}

/** Which records a scan gives. */
export interface ScanOptions {
  /** Only keys that begin so. */
  prefix?: string | undefined;
  /** Only keys after this one: the last of the previous page. */
  after?: string | undefined;
  /** At most so many. */
  limit?: number | undefined;
}

/** A record's change, whoever made it. It is stored here by the time that it is told. */
export interface Change<T> {
  change: "insert" | "update" | "delete";
  collection: string;
  key: string;
  /** The record before; `undefined` if there was none. */
  before: T | undefined;
  /** The record after; `undefined` if it is gone. */
  after: T | undefined;
  /** Whether this page made it. */
  local: boolean;
  /** The latest change that touched it; `undefined` where a whole document arrived at once. */
  by: Author | undefined;
}

/** How to be told of changes. */
export interface SubscribeOptions {
  /**
   * Called when more than 10,000 changes waited and some were left out: read the records again. Later changes are told as
   * before. Without it, a warning goes to the console.
   */
  onMissed?: (error: Error) => void;
}

/** Records by key, each of type `T`. The type is the caller's claim: what other peers write is not checked against it. */
export class Collection<T extends object = Fields> {
  readonly #inner: wasm.Collection;
  /** Its name. */
  readonly name: string;

  /** @internal */
  constructor(inner: wasm.Collection, name: string) {
    this.#inner = inner;
    this.name = name;
  }

  /**
   * Makes the record of this key equal to `record`: fields that it does not have are removed, except those that the
   * collection's schema does not name, if it was opened with one. Resolves once that is stored.
   */
  put(key: string, record: NewRecord<T>): Promise<Written> {
    return this.#inner.put(key, record);
  }

  /** Puts many records, a thousand to a change. */
  async putMany(entries: Iterable<readonly [key: string, record: NewRecord<T>]>): Promise<Written> {
    return this.#inner.putMany([...entries]);
  }

  /**
   * Edits fields of a record that is there, and no others: `patch("milk", { done: true, visits: increment(1) })`. Resolves
   * once that is stored.
   */
  patch(key: string, patch: Patch<T>): Promise<Written> {
    return this.#inner.patch(key, patch);
  }

  /** Deletes a record that is there. An edit of someone who had not seen the delete brings it back, unless declared otherwise. */
  delete(key: string): Promise<Written> {
    return this.#inner.delete(key);
  }

  /** The record of this key; `undefined` if there is none. */
  get(key: string): T | undefined {
    return this.#inner.get(key) as T | undefined;
  }

  /** Pairs of key and record, in the order of the keys' UTF-8 bytes. `new Map(notes.scan())` is all of them. */
  scan(options: ScanOptions = {}): [key: string, record: T][] {
    return this.#inner.scan(options.prefix, options.after, options.limit) as [string, T][];
  }

  /**
   * Calls `listener` with every change from now on, local or remote, once it is stored. Call what is returned to stop.
   */
  subscribe(listener: (change: Change<T>) => void, options: SubscribeOptions = {}): () => void {
    const subscription = this.#inner.subscribe(listener, options.onMissed ?? warn);
    return () => subscription.stop();
  }

  /** What was written, is not shown and is not settled, in the order of keys; the limit counts records. */
  conflicts(options: ScanOptions = {}): Conflict[] {
    return this.#inner.conflicts(options.prefix, options.after, options.limit) as Conflict[];
  }

  /** What was written in one record, is not shown and is not settled. */
  conflictsOf(key: string): Conflict[] {
    return this.#inner.conflictsOf(key) as Conflict[];
  }

  /**
   * Settles a conflict: `settle(conflict, { keep: conflict.losers[0].id })`. Resolves once that is stored; rejects with the
   * code `nothing-to-settle` if it is not open any more. What others wrote meanwhile is not settled by it.
   */
  settle(conflict: Conflict | ConflictPlace, how: Settlement): Promise<Written> {
    const { key, field = [] } = conflict;
    return this.#inner.settle(key, typeof field === "string" ? [field] : [...field], how);
  }

  /**
   * Takes back what a write of this collection did, and nothing that anyone did since: `undo(await put(…))`. Resolves once
   * that is stored, with what can be undone in turn; what is undone already stays as it is. Rejects with the code
   * `nothing-to-undo` if the write is not of this collection, and `not-the-author` if someone else made it: another user or,
   * without users, another store.
   */
  undo(written: Pick<Written, "changes">): Promise<Written> {
    return this.#inner.undo(written.changes);
  }

  /**
   * Calls `listener` with what is open in a record whenever that changes, as a conflict comes up or is settled, once it is
   * stored. Call what is returned to stop.
   */
  subscribeConflicts(listener: (change: ConflictChange) => void, options: SubscribeOptions = {}): () => void {
    const subscription = this.#inner.subscribeConflicts(listener, options.onMissed ?? warn);
    return () => subscription.stop();
  }

  /** Who wrote each field of a record, nested ones too, as they claim; empty if there is no such record. */
  provenance(key: string): FieldAuthor[] {
    return this.#inner.provenance(key) as FieldAuthor[];
  }
}

function warn(error: Error): void {
  console.warn(error.message);
}
