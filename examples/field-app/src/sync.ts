// What the badge in the header says, and the card behind it.
import type { SyncState } from "headwater";
import { byId } from "./dom";
import type { Store } from "./store";
import { shareLink } from "./store";

interface Shown {
  state: "local" | "offline" | "connecting" | "sending" | "synced";
  text: string;
  detail: string;
}

export function describe(state: SyncState): Shown {
  const { unsynced } = state;
  const edits = `${unsynced.toLocaleString()} ${unsynced === 1 ? "edit" : "edits"} not yet on a server`;
  const safe = "Every edit is stored on this device and is sent as soon as a server can be reached.";
  if (state.connected && unsynced > 0) {
    return { state: "sending", text: edits, detail: "Connected; the edits are on their way." };
  }
  if (state.connected) return { state: "synced", text: "All synced", detail: "Every edit is on the server." };
  const waiting = unsynced > 0 ? ` · ${edits}` : "";
  if (state.links.length === 0) {
    return { state: "local", text: `On this device${waiting}`, detail: `No server is set. ${safe}` };
  }
  if (state.links.some((link) => link.state === "connecting")) {
    return { state: "connecting", text: `Connecting…${waiting}`, detail: safe };
  }
  const why = state.links.find((link) => link.error)?.error;
  return { state: "offline", text: `Offline${waiting}`, detail: why ? `${safe} (${why})` : safe };
}

export function showSync(store: Store, failed: (error: unknown) => void): void {
  const badge = byId("badge");
  let wasOffline = false;
  store.db.onSyncState((state) => {
    const shown = describe(state);
    // Each attempt would flash otherwise: offline is said until there is a connection.
    if (shown.state === "connecting" && wasOffline) {
      Object.assign(shown, { state: "offline", text: shown.text.replace("Connecting…", "Offline") });
    }
    wasOffline = shown.state === "offline";
    badge.dataset["state"] = shown.state;
    byId("badge-text").textContent = shown.text;
    byId("sync-detail").textContent = [shown.detail, ...state.refused].join(" ");
  });
  byId<HTMLInputElement>("database").value = store.db.id;
  const form = byId<HTMLFormElement>("server-form");
  const input = form.elements.namedItem("server") as HTMLInputElement;
  input.value = store.server ?? "";
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    try {
      store.use(input.value.trim());
    } catch (error) {
      failed(error);
    }
  });
  const person = byId<HTMLInputElement>("user");
  person.value = store.user ?? "";
  person.addEventListener("change", () => store.introduce(person.value.trim()));
  const share = byId("share");
  share.addEventListener("click", async () => {
    await navigator.clipboard.writeText(shareLink(store)).then(
      () => (share.textContent = "Copied"),
      () => prompt("Copy this link:", shareLink(store)),
    );
    setTimeout(() => (share.textContent = "Copy a link to this database"), 2000);
  });
}
