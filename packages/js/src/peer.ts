import * as wasm from "../wasm/headwater.js";
import { Database } from "./database.js";
import type { Link } from "./database.js";
import { isHeadwaterError } from "./error.js";
import { init } from "./init.js";
import type { Value } from "./values.js";

/**
 * What an acknowledged write survives. `strict`: a power cut, as far as the browser and the disk keep their word: each
 * write is flushed. `relaxed`, about twice as fast: the death of the page and of the whole browser, but a power cut can
 * take the last moments. `memory`: nothing.
 */
export type Durability = "strict" | "relaxed" | "memory";

/** Where a peer keeps its databases, and what it says of itself. */
export interface PeerOptions {
  /** The IndexedDB database; `headwater` unless given. */
  name?: string;
  /** `strict` unless given. */
  durability?: Durability;
  /** Names the application in every change that it makes. */
  origin?: string;
  /** Names the person in every change that they make. */
  user?: string;
  /**
   * Functions for fields whose policy is `custom:NAME@VERSION`, by `NAME@VERSION`. One that throws, or gives what has no form
   * as a value, leaves the last writer's value, unresolved, and an error on the console.
   */
  resolvers?: { readonly [id: `${string}@${number}`]: Resolver };
}

/**
 * Makes one value of those that were written without knowledge of each other, the later ones last. It must give the same for
 * the same values on every peer, so it decides by them alone, and another behaviour is another version.
 */
export type Resolver = (values: Value[]) => Value;

/** A database that a peer keeps. */
export interface DatabaseInfo {
  id: string;
  /** The names that stand for it here. */
  names: string[];
}

/**
 * Opens the store, which is created if needed. Several tabs can have the same one open at once.
 *
 * Browsers may clear the data of sites when the disk is full: `navigator.storage.persist()` asks them not to.
 */
export async function openPeer(options: PeerOptions = {}): Promise<Peer> {
  await init();
  const { name = "headwater", durability = "strict", origin, user, resolvers = {} } = options;
  return new Peer(await wasm.Peer.open(name, durability, origin, user, Object.entries(resolvers)));
}

/** A replica of any number of databases in one store. */
export class Peer {
  readonly #inner: wasm.Peer;
  readonly #links = new Set<Link>();

  /** @internal */
  constructor(inner: wasm.Peer) {
    this.#inner = inner;
  }

  /** Creates a database, offline as well. A name stands for it in this store only; others open it by its id. */
  async create(name?: string): Promise<Database> {
    return this.#database(await this.#inner.create(name));
  }

  /** Opens a database by its id: one that is here, or one that a server will bring. */
  async open(id: string): Promise<Database> {
    return this.#database(await this.#inner.openDatabase(id));
  }

  /** Opens a database by its name in this store. */
  async openNamed(name: string): Promise<Database> {
    return this.#database(await this.#inner.openNamed(name));
  }

  /** Opens a database by its name in this store, and creates it the first time. */
  async openOrCreate(name: string): Promise<Database> {
    try {
      return await this.openNamed(name);
    } catch (error) {
      if (!isHeadwaterError(error) || error.code !== "unknown-name") throw error;
    }
    try {
      return await this.create(name);
    } catch (error) {
      // Another tab was faster.
      if (!isHeadwaterError(error) || error.code !== "name-taken") throw error;
      return await this.openNamed(name);
    }
  }

  /** Lets a name stand for a database in this store. */
  setName(name: string, id: string): Promise<void> {
    return this.#inner.setName(name, id);
  }

  /** The databases that are kept here. */
  async databases(): Promise<DatabaseInfo[]> {
    return (await this.#inner.databases()) as DatabaseInfo[];
  }

  /** Ends all connections and lets go of the store. Writes through its databases fail from now on. */
  async close(): Promise<void> {
    for (const link of [...this.#links]) link.close();
    await this.#inner.close();
  }

  #database(inner: wasm.Database): Database {
    return new Database(inner, this.#links);
  }
}
