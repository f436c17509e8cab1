// A page in a real Chromium that edits records when it is told to: `node editor.mjs WS_URL DATABASE COLLECTION FIELD`.
// It prints `ready` when the page has the database; then each line of standard input, `{"key": …, "value": …}`, is a patch,
// and `edited` is printed once it is in IndexedDB. It ends with its input.
import { createInterface } from "node:readline";
import { openPage, setUp } from "../../packages/js/test/browser.mjs";

const [url, database, collection, field] = process.argv.slice(2);
const { browser, origin, tearDown } = await setUp();
try {
  const page = await openPage(browser, origin);
  await page.evaluate(
    async ([url, database, collection]) => {
      const peer = await hw.openPeer();
      const db = await peer.open(database);
      db.connect(url);
      await db.synced(120_000);
      globalThis.records = db.collection(collection);
    },
    [url, database, collection],
  );
  console.log("ready");
  for await (const line of createInterface({ input: process.stdin })) {
    const { key, value } = JSON.parse(line);
    await page.evaluate(([key, patch]) => records.patch(key, patch), [key, { [field]: value }]);
    console.log("edited");
  }
} finally {
  await tearDown();
}
