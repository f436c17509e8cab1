// Which database this is, and with which server it syncs. The address says it: #db=<id>&server=ws://…&store=<name>.
import type { Database, Link, Peer } from "headwater";
import { openPeer } from "headwater";

export interface Store {
  peer: Peer;
  db: Database;
  /** The server's address, if there is one. */
  server: string | undefined;
  /** Declares the types of fields, unless that was done here or elsewhere. */
  declare(): Promise<void>;
  /** Syncs with this server from now on, instead of the one before. */
  use(server: string): void;
}

interface Settings {
  db?: string;
  server?: string;
}

export async function openStore(): Promise<Store> {
  const hash = new URLSearchParams(location.hash.slice(1));
  const name = hash.get("store") ?? "airfields";
  const remembered = `airfields:${name}`;
  const settings: Settings = JSON.parse(localStorage.getItem(remembered) ?? "{}");
  const id = hash.get("db") ?? settings.db;
  const peer = await openPeer({ name, origin: "field-app" });
  // Without a word of anyone's, this device starts a database of its own, which others can join later.
  const db = id ? await peer.open(id) : await peer.openOrCreate("airfields");
  let link: Link | undefined;
  const store: Store = {
    peer,
    db,
    server: undefined,
    async declare() {
      if ("airports" in db.collections()) return;
      await db.declare("airports", {
        fields: { latitude: "float", longitude: "float", notes: "text", visits: "counter", inspected_at: "timestamp" },
      });
    },
    use(server) {
      const next = db.connect(server);
      link?.close();
      link = next;
      store.server = server;
      localStorage.setItem(remembered, JSON.stringify({ db: db.id, server } satisfies Settings));
    },
  };
  localStorage.setItem(remembered, JSON.stringify({ ...settings, db: db.id } satisfies Settings));
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
