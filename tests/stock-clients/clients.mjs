// Stock automerge-repo clients, and waiting for what they see.
import { Repo } from "@automerge/automerge-repo";
import { WebSocketClientAdapter } from "@automerge/automerge-repo-network-websocket";
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";

/** How long anything here may take, in milliseconds. */
const LIMIT = 20_000;
/** How often a client tries to connect again, in milliseconds; the stock default is 5,000. */
const RETRY = 500;

/** A client with an empty repo. It goes on trying until there is a server. */
export function client(url) {
  const adapter = new WebSocketClientAdapter(url, RETRY);
  const repo = new Repo({ network: [adapter] });
  return {
    repo,
    /** Waits until the server has told that it has all of a document, which it does once that is on its disk. */
    saved: (handle) =>
      until("the server has it all", () => {
        const server = repo.getStorageIdOfPeer(repo.peers[0]);
        return server && [handle.getSyncInfo(server)?.lastHeads, handle.heads()];
      }),
    /** Whether it is connected. */
    connected: (wanted) => until("the connection is as wanted", () => [repo.peers.length > 0, wanted]),
    /** Makes it stay away once the connection is lost. Its timer would bring it back even after a shutdown. */
    stayAway() {
      adapter.retryInterval = 0;
    },
    close: () => repo.shutdown(),
  };
}

/** The plain values of a document. */
export const content = (handle) => JSON.parse(JSON.stringify(handle.doc()));

/** Waits until a document holds these values. */
export const becomes = (handle, expected) => until("the document is as expected", () => [content(handle), expected]);

/** Waits until `pair` gives two equal values, and fails with their difference if that takes too long. */
export async function until(what, pair) {
  for (const begun = performance.now(); ; ) {
    const [found, expected] = (await pair()) || [undefined, true];
    if (isDeepStrictEqual(found, expected)) return;
    if (performance.now() - begun > LIMIT) assert.deepEqual(found, expected, `not within ${LIMIT / 1000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
