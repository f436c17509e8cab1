// Which database this is, and with which server it syncs. The address says it: #db=<id>&server=ws://…&store=<name>.
import type { Database, Link, Peer } from "headwater";
import { openPeer } from "headwater";
import { SCHEMA } from "./airfield";

export interface Store {
  peer: Peer;
  db: Database;
  /** The server's address, if there is one. */
  server: string | undefined;
  /** Who uses this device, if they said so: it goes along with every edit. */
  user: string | undefined;
  /** Declares what the app needs of its fields, unless that was done here or elsewhere. */
  declare(): Promise<void>;
  /** Syncs with this server from now on, instead of the one before. */
  use(server: string): void;
  /** Says from now on who uses this device. */
  introduce(user: string): void;
}

interface Settings {
  db?: string;
  server?: string;
  user?: string;
}

export async function openStore(): Promise<Store> {
  const hash = new URLSearchParams(location.hash.slice(1));
  const name = hash.get("store") ?? "airfields";
  const remembered = `airfields:${name}`;
  const settings: Settings = JSON.parse(localStorage.getItem(remembered) ?? "{}");
  const id = hash.get("db") ?? settings.db;
  const user = hash.get("user") ?? settings.user;
  const peer = await openPeer({ name, origin: "field-app", ...(user ? { user } : {}) });
  const remember = (more: Settings) => {
    Object.assign(settings, more);
    localStorage.setItem(remembered, JSON.stringify(settings));
  };
  // Without a word of anyone's, this device starts a database of its own, which others can join later.
  const db = id ? await peer.open(id) : await peer.openOrCreate("airfields");
  let link: Link | undefined;
  const store: Store = {
    peer,
    db,
    server: undefined,
    user,
    async declare() {
      const declared = db.collections()["airports"]?.version ?? 0;
      if (declared < SCHEMA.version) await db.declare("airports", SCHEMA);
    },
    use(server) {
      const next = db.connect(server);
      link?.close();
      link = next;
      store.server = server;
      remember({ server });
    },
    introduce(user) {
      remember({ user });
      // A name is given when the store is opened.
      location.reload();
    },
  };
  remember({ db: db.id, ...(user ? { user } : {}) });
  const server = hash.get("server") ?? settings.server;
  if (server) store.use(server);
  // Asks the browser not to clear this site's data when the disk is full.
  void navigator.storage?.persist?.();
  return store;
}

/** A link by which someone else opens the same database. */
export function shareLink(store: Store): string {
  const hash = new URLSearchParams({ db: store.db.id });
  if (store.server) hash.set("server", store.server);
  return `${location.origin}${location.pathname}#${hash}`;
}
