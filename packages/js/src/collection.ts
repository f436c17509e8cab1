import type * as wasm from "../wasm/headwater.js";
import type { Fields, NewRecord, Patch } from "./values.js";

/** What a write did, in numbers of records. */
export interface Written {
  inserted: number;
  updated: number;
  /** Records that were already as they should be. */
  unchanged: number;
  deleted: number;
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

/** Who made a change, as its writer claims. */
export interface Author {
  /** The hash of the change. */
  change: string;
  /** The session of a replica. */
  actor: string;
  /** Which application or job. */
  origin: string | undefined;
  /** Which person. */
  user: string | undefined;
  /** The writer's clock. */
  at: Date;
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
   * Makes the record of this key equal to `record`: fields that it does not have are removed. Resolves once that is
   * stored.
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
    const missed = options.onMissed ?? ((error: Error) => console.warn(error.message));
    const subscription = this.#inner.subscribe(listener, missed);
    return () => subscription.stop();
  }
}
