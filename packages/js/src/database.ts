import type * as wasm from "../wasm/headwater.js";
import { Collection } from "./collection.js";
import type { DeleteRule, RecordOf, Schema } from "./schema.js";
import type { Fields } from "./values.js";

/** How it goes with a server. One that denies wants a token, or another one; it is asked again after a while. */
export type LinkState = "connecting" | "connected" | "waiting" | "denied";

/** How a server is connected to. */
export interface ConnectOptions {
  /** A token of the server's, which lets this peer in. */
  token?: string;
}

/** One server and how it goes with it. */
export interface LinkStatus {
  /** Its address. */
  url: string;
  state: LinkState;
  /** While waiting to try again, or denied: why there is no connection. */
  error?: string;
}

/** The state of a database's synchronisation. */
export interface SyncState {
  /** Whether there is a connection to any server. */
  connected: boolean;
  /** How many of this browser's edits no durable server is known to have. They are safe here, and here only. */
  unsynced: number;
  links: LinkStatus[];
  /** Documents that were refused, by a server or here, and why. */
  refused: string[];
}

/** What all peers together have declared of a collection. */
export interface CollectionInfo {
  partitions: number[];
  /** The types of the fields that have one. */
  fields: { [name: string]: string };
  /** The policies of the fields that have one. */
  policies: { [name: string]: string };
  /** The names of fields' columns in the tables that Drill queries, where declared; false for a field without one. */
  columns: { [name: string]: string | false };
  delete: DeleteRule;
  /** The greatest version that anyone declared; 0 if no one did. */
  version: number;
}

/** A server that a database is synced with until {@link Link.close}, over every interruption. */
export class Link {
  readonly #inner: wasm.Link;
  readonly #links: Set<Link>;
  readonly #retry = () => this.retryNow();

  /** @internal */
  constructor(inner: wasm.Link, links: Set<Link>) {
    this.#inner = inner;
    this.#links = links;
    links.add(this);
    globalThis.addEventListener?.("online", this.#retry);
  }

  /** How it goes. */
  get state(): LinkState {
    return (this.#inner.state() as LinkStatus).state;
  }

  /** Tries at once instead of after the wait. Done by itself when the browser says that it is online again. */
  retryNow(): void {
    this.#inner.retryNow();
  }

  /** Ends it for good. */
  close(): void {
    globalThis.removeEventListener?.("online", this.#retry);
    this.#links.delete(this);
    this.#inner.close();
  }
}

/** An open database. */
export class Database {
  readonly #inner: wasm.Database;
  readonly #links: Set<Link>;
  /** Its id, by which other people's peers open it. Whoever knows it and reaches a server can read and write it. */
  readonly id: string;

  /** @internal */
  constructor(inner: wasm.Database, links: Set<Link>) {
    this.#inner = inner;
    this.#links = links;
    this.id = inner.id();
  }

  /** A collection, by its name. It comes into being with its first record. A `put` into it replaces all of a record. */
  collection<T extends object = Fields>(name: string): Collection<T>;
  /**
   * A collection with the records of a schema that {@link defineSchema} gave. A `put` into it leaves fields as they are that
   * the schema does not name, because a newer version of the application wrote them.
   */
  collection<const S extends Schema>(name: string, schema: S): Collection<RecordOf<S>>;
  collection<T extends object>(name: string, schema?: Schema): Collection<T> {
    const known = schema?.fields && Object.keys(schema.fields);
    return new Collection<T>(this.#inner.collection(name, known), name);
  }

  /** What is known of the collections, by name. */
  collections(): { [name: string]: CollectionInfo } {
    return this.#inner.collections() as { [name: string]: CollectionInfo };
  }

  /** Declares a collection, adding to what was declared of it before, here or elsewhere. */
  declare(collection: string, schema: Schema): Promise<void> {
    return this.#inner.declare(collection, schema);
  }

  /** Canonical JSON of all records: equal on all peers that have the same edits. */
  toJson(): string {
    return this.#inner.toJson();
  }

  /** Syncs with a server at `ws://HOST:PORT` or `wss://HOST:PORT` from now on. It need not be reachable yet. */
  connect(url: string, options: ConnectOptions = {}): Link {
    return new Link(this.#inner.connect(url, options.token), this.#links);
  }

  /** The state of synchronisation now. */
  get syncState(): SyncState {
    return this.#inner.syncState() as SyncState;
  }

  /** How many of this browser's edits no durable server is known to have. */
  get unsynced(): number {
    return this.syncState.unsynced;
  }

  /** Calls `listener` with the state of synchronisation, first as it is, then as it changes. Call what is returned to stop. */
  onSyncState(listener: (state: SyncState) => void): () => void {
    const subscription = this.#inner.onSyncState(listener);
    return () => subscription.stop();
  }

  /**
   * Waits until a connected server has everything that is here, and everything that it has is here; rejects with the
   * code `not-in-sync` after `timeout` milliseconds, and with `denied` as soon as only servers are left that deny.
   */
  synced(timeout = 30_000): Promise<void> {
    return this.#inner.synced(timeout);
  }
}
