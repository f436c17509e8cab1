import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { after, before, test } from "node:test";
import { launch, openPage, PACKAGE, profile } from "./browser.mjs";
import { prepareServer } from "./server.mjs";
import { serve } from "./static.mjs";

let site;
let server;
const browsers = [];
const folders = [];

before(async () => {
  site = await serve(PACKAGE);
  server = await prepareServer();
});
after(async () => {
  for (const browser of browsers) await browser.close();
  await server?.remove();
  await site.close();
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

/** A page in a browser of its own with a peer of its own. */
async function person() {
  const folder = await profile();
  folders.push(folder);
  const browser = await launch(folder);
  browsers.push(browser);
  const page = await openPage(browser, site.url);
  await page.evaluate(async () => {
    globalThis.peer = await hw.openPeer();
  });
  return page;
}

const inSync = (page) => page.evaluate(() => db.synced(30_000));
const unsynced = (page) => page.evaluate(() => db.unsynced);
const json = (page) => page.evaluate(() => db.toJson());

test("two people offline, a server that comes, goes and comes back", async () => {
  const ada = await person();
  const bob = await person();

  // Everything before the server is there for the first time.
  const id = await ada.evaluate(async (url) => {
    globalThis.db = await peer.create("shared");
    globalThis.link = db.connect(url);
    globalThis.states = [];
    db.onSyncState((state) => states.push(state));
    const tasks = db.collection("tasks");
    await tasks.put("t", { title: "draft", done: false, body: hw.text("abc"), votes: hw.counter(0) });
    return db.id;
  }, server.url);
  assert.ok((await unsynced(ada)) > 0);
  await ada.waitForFunction(() => link.state === "waiting");

  await server.start();
  await ada.evaluate(() => link.retryNow());
  await inSync(ada);
  assert.equal(await unsynced(ada), 0);

  await bob.evaluate(
    async ([id, url]) => {
      globalThis.db = await peer.open(id);
      globalThis.told = [];
      db.collection("tasks").subscribe((change) => told.push(change));
      globalThis.link = db.connect(url);
    },
    [id, server.url],
  );
  await bob.waitForFunction(() => db.collection("tasks").get("t")?.title === "draft");
  // A subscriber hears of a change once it is stored, a moment after it can be read.
  await bob.waitForFunction(() => told.length > 0);
  const told = await bob.evaluate(() => told.map((change) => [change.change, change.key, change.local]));
  assert.deepEqual(told, [["insert", "t", false]]);
  assert.equal(await unsynced(bob), 0);

  // Edits go the other way.
  await bob.evaluate(() => db.collection("tasks").patch("t", { votes: hw.increment(2) }));
  await ada.waitForFunction(() => db.collection("tasks").get("t").votes === 2);

  // Both edit while the server is down; none of it counts as synced until the server is back and has it.
  await server.stop();
  await ada.waitForFunction(() => !db.syncState.connected);
  await bob.waitForFunction(() => !db.syncState.connected);
  await ada.evaluate(async () => {
    const tasks = db.collection("tasks");
    await tasks.patch("t", { title: "by ada", body: hw.splice(0, 0, "Ada "), votes: hw.increment(10) });
    await tasks.put("both", { ada: 1 });
  });
  await bob.evaluate(async () => {
    const tasks = db.collection("tasks");
    await tasks.patch("t", { done: true, body: hw.splice(3, 0, " Bob"), votes: hw.increment(5) });
    await tasks.put("both", { bob: 2 });
  });
  assert.equal(await unsynced(ada), 2);
  assert.equal(await unsynced(bob), 2);

  await server.start();
  // What the browser says when the network is back makes the links try at once.
  await Promise.all([ada, bob].map((page) => page.evaluate(() => dispatchEvent(new Event("online")))));
  await Promise.all([inSync(ada), inSync(bob)]);
  await bob.waitForFunction(() => db.collection("tasks").get("t").title === "by ada");
  await ada.waitForFunction(() => db.collection("tasks").get("t").done === true);
  await bob.waitForFunction(() => db.collection("tasks").get("both").ada === 1);
  await ada.waitForFunction(() => db.collection("tasks").get("both").bob === 2);
  assert.equal(await unsynced(ada), 0);
  assert.equal(await unsynced(bob), 0);
  const merged = await ada.evaluate(() => db.collection("tasks").get("t"));
  assert.deepEqual(merged, { title: "by ada", done: true, body: "Ada abc Bob", votes: 17 });
  assert.equal(await json(ada), await json(bob));

  // The listener of states saw the connection come and go.
  const seen = await ada.evaluate(() => states.map((state) => state.connected));
  assert.ok(seen.includes(true) && seen.lastIndexOf(false) > seen.indexOf(true));

  // A closed link takes nothing more in.
  await bob.evaluate(() => link.close());
  await bob.waitForFunction(() => db.syncState.links.length === 0);
  await ada.evaluate(() => db.collection("tasks").put("late", {}));
  await inSync(ada);
  assert.equal(await bob.evaluate(() => db.collection("tasks").get("late")), undefined);

  // Sync that cannot be had is an error after its time.
  const code = await bob.evaluate(() => db.synced(50).catch((error) => error.code));
  assert.equal(code, "not-in-sync");
});
