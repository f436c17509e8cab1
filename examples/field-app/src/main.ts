import * as api from "headwater";
import type { Database, Peer } from "headwater";
import type { Airfield, Airfields } from "./airfield";
import { title, whole } from "./airfield";
import { Conflicts } from "./conflicts";
import { Detail } from "./detail";
import { byId } from "./dom";
import { List } from "./list";
import { storeApp } from "./offline";
import type { Store } from "./store";
import { openStore } from "./store";
import { showSync } from "./sync";
import { failure, toast } from "./toast";

declare global {
  interface Window {
    /** For scripts that drive the app. */
    headwater: {
      /** Resolves with the database's id once it is open. */
      ready: Promise<string>;
      /** Resolves once the app itself is stored for use without a network. */
      stored?: Promise<void>;
      peer?: Peer;
      db?: Database;
      /** The package, with `increment`, `splice`, `remove` and so on. */
      api: typeof api;
    };
  }
}

function show(store: Store): void {
  const airfields: Airfields = store.db.collection<Airfield>("airports");
  const close = () => {
    const { key } = detail;
    detail.close();
    list.select(undefined);
    document.body.classList.remove("inspecting");
    if (key !== undefined) byId("list").focus({ preventScroll: true });
  };
  const open = (key: string, focus = false) => {
    // Whoever opens an airfield is about to edit it: from then on the policies are to hold.
    store.declare().catch(failure);
    document.body.classList.add("inspecting");
    list.select(key);
    detail.open(key, focus);
  };
  const list = new List(open);
  const conflicts: Conflicts = new Conflicts(airfields, (key) => {
    list.contest(key, conflicts.of(key));
    detail.changed(key);
  });
  const detail = new Detail(airfields, conflicts, {
    close,
    failed: failure,
    remove(key, airfield) {
      const undo = () => void airfields.put(key, whole(airfield)).then(() => open(key), failure);
      airfields.delete(key).then(() => toast(`${title(airfield)} deleted`, { label: "Undo", run: undo }), failure);
      close();
    },
  });
  const load = () => list.load(airfields.scan());
  airfields.subscribe(
    ({ key, after }) => {
      list.set(key, after);
      detail.changed(key);
    },
    { onMissed: load },
  );
  load();
  conflicts.load();
  const add = async () => {
    const key = crypto.randomUUID();
    await store.declare();
    await airfields.put(key, { name: "New airfield", country: "USA", notes: api.text(""), visits: api.counter() });
    open(key, true);
  };
  byId("new").addEventListener("click", () => void add().catch(failure));
  showSync(store, failure);
}

async function start(): Promise<string> {
  const store = await openStore();
  Object.assign(window.headwater, { peer: store.peer, db: store.db });
  show(store);
  window.headwater.stored = storeApp();
  return store.db.id;
}

window.headwater = { ready: start(), api };
window.headwater.ready.catch((error: unknown) => {
  byId("badge").dataset["state"] = "offline";
  byId("badge-text").textContent = "Cannot open the store";
  failure(error);
});
// Another address is another database.
addEventListener("hashchange", () => location.reload());
