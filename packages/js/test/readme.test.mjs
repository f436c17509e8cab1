import assert from "node:assert/strict";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { launch, PACKAGE, profile } from "./browser.mjs";
import { serve } from "./static.mjs";

for (const readme of ["README.md", "../../README.md"]) {
  test(`the ten lines in ${readme} work as they stand`, () => check(join(PACKAGE, readme)));
}

async function check(path) {
  const readme = await readFile(path, "utf8");
  const [, code] = readme.match(/```js\n([\s\S]*?)```/);
  const page = await readFile(join(PACKAGE, "test/page.html"), "utf8");
  const html = page.replace(/<script type="module">[\s\S]*<\/script>/, () => `<script type="module">${code}</script>`);
  const site = await serve(PACKAGE, { "/readme.html": html });
  const folder = await profile();
  const browser = await launch(folder);
  try {
    const tab = await browser.context.newPage();
    const lines = [];
    const errors = [];
    tab.on("pageerror", (error) => errors.push(error));
    const last = new Promise((resolve) => {
      tab.on("console", (message) => {
        if (message.type() === "log") lines.push(message.text());
        if (lines.length === 3) resolve();
      });
      tab.on("pageerror", resolve);
    });
    await tab.goto(`${site.url}/readme.html`);
    await last;
    assert.deepEqual(errors, []);
    // The subscriber's lines come when they come. The last number counts what no server has: all of it.
    const [title, ...told] = lines.sort();
    assert.match(title, /^Buy oat milk 1 [1-9]$/);
    assert.deepEqual(told, ["insert milk here", "update milk here"]);
  } finally {
    await browser.close();
    await site.close();
    await rm(folder, { recursive: true, force: true });
  }
}
