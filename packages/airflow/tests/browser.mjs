// A person's browser, for tests in Python. Each line of standard input is JSON: the body of an asynchronous function, which runs in a
// page that has the JavaScript package as `hw`, or null, which loads the page anew. It is answered with a line of JSON, {"value": …}
// or {"error": "…"}. It ends when its input does.
import { createInterface } from "node:readline";
import { openPage, setUp } from "../../js/test/browser.mjs";

const { browser, origin, tearDown } = await setUp();

async function run(page, body) {
  if (body !== null) return page.evaluate(`(async () => { ${body} })()`);
  await page.reload();
  await page.waitForFunction(() => globalThis.hw !== undefined);
}

try {
  const page = await openPage(browser, origin);
  console.log(JSON.stringify({ value: "ready" }));
  for await (const line of createInterface({ input: process.stdin })) {
    const answer = await run(page, JSON.parse(line)).then(
      (value) => ({ value: value ?? null }),
      (error) => ({ error: String(error) }),
    );
    console.log(JSON.stringify(answer));
  }
} finally {
  await tearDown();
}
