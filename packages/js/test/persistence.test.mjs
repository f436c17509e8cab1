import assert from "node:assert/strict";
import { readdir, readFile, rm } from "node:fs/promises";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { launch, openPage, PACKAGE, profile } from "./browser.mjs";
import { serve } from "./static.mjs";

test("works from the very first start offline, and is there after a reload and in a new browser process", async () => {
  const folder = await profile();
  const site = await serve(PACKAGE);
  let browser = await launch(folder);
  try {
    let page = await openPage(browser, site.url);
    await page.evaluate(() => hw.init());
    await browser.context.setOffline(true);
    const id = await page.evaluate(async () => {
      const peer = await hw.openPeer({ name: "offline" });
      const db = await peer.create("field");
      db.connect("ws://127.0.0.1:9");
      await db.collection("notes").put("first", { body: hw.text("written offline"), at: new Date(0) });
      if (db.unsynced === 0) throw new Error("an edit that no server has must count");
      return db.id;
    });
    await browser.context.setOffline(false);
    const read = async () => {
      await page.waitForFunction(() => globalThis.hw !== undefined);
      return page.evaluate(async () => {
        const peer = await hw.openPeer({ name: "offline" });
        const db = await peer.openNamed("field");
        const note = db.collection("notes").get("first");
        return { id: db.id, body: note.body, at: note.at.getTime(), unsynced: db.unsynced > 0 };
      });
    };
    const expected = { id, body: "written offline", at: 0, unsynced: true };
    await page.reload();
    assert.deepEqual(await read(), expected);
    await browser.close();
    browser = await launch(folder);
    page = await openPage(browser, site.url);
    assert.deepEqual(await read(), expected);
  } finally {
    await browser.close();
    await site.close();
    await rm(folder, { recursive: true, force: true });
  }
});

const ROUNDS = 30;

test(`an edit whose put resolved survives SIGKILL to the browser's process group, ${ROUNDS} rounds`, async (t) => {
  const folder = await profile();
  const site = await serve(PACKAGE);
  let browser;
  try {
    const expected = { strict: {}, relaxed: {} };
    for (let round = 0; round < ROUNDS; round++) {
      const durability = round % 2 === 0 ? "strict" : "relaxed";
      browser = await launch(folder);
      const page = await openPage(browser, site.url);
      const found = await page.evaluate(async (durability) => {
        const db = {};
        for (const kind of ["strict", "relaxed"]) {
          const peer = await hw.openPeer({ name: kind, durability: kind });
          db[kind] = await peer.openOrCreate("killed");
        }
        globalThis.notes = db[durability].collection("notes");
        return Object.fromEntries(
          Object.entries(db).map(([kind, db]) => [
            kind,
            Object.fromEntries(db.collection("notes").scan().map(([key, record]) => [key, record.n])),
          ]),
        );
      }, durability);
      assert.deepEqual(found, expected, `before round ${round}`);
      await page.evaluate((round) => notes.put(`round ${round}`, { n: round }), round);
      await browser.kill();
      expected[durability][`round ${round}`] = round;
      await processesGone(folder);
    }
    t.diagnostic(`${ROUNDS} rounds`);
    browser = await launch(folder);
    const page = await openPage(browser, site.url);
    const left = await page.evaluate(async () => {
      let count = 0;
      for (const name of ["strict", "relaxed"]) {
        const peer = await hw.openPeer({ name, durability: name });
        count += (await peer.openNamed("killed")).collection("notes").scan().length;
      }
      return count;
    });
    assert.equal(left, ROUNDS);
  } finally {
    await browser?.kill();
    await site.close();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
});

/** The kill must leave no process of the browser's. One that was killed is there for as long as the kernel takes its memory down. */
async function processesGone(folder) {
  const late = Date.now() + 10_000;
  for (;;) {
    const found = await processesOn(folder);
    if (found.length === 0) return;
    if (Date.now() > late) assert.deepEqual(found, []);
    await setTimeout(10);
  }
}

/** The command lines of living processes that name the folder. */
async function processesOn(folder) {
  const found = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
    const zombie = / [ZX] /.test(stat.slice(stat.lastIndexOf(")")));
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (!zombie && command.includes(folder)) found.push(command.replaceAll("\0", " ").slice(0, 200));
  }
  return found;
}
