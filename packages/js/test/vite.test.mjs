import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { launch, PACKAGE, profile } from "./browser.mjs";
import { serve } from "./static.mjs";

const run = promisify(execFile);

const APP = {
  "package.json": JSON.stringify({ name: "outside", private: true, type: "module" }),
  "index.html": `<!doctype html><link rel="icon" href="data:," /><script type="module" src="/main.js"></script>`,
  "main.js": `
    import { openPeer, increment } from "headwater";
    const db = await (await openPeer()).openOrCreate("outside");
    await db.collection("c").put("k", { n: 1 });
    await db.collection("c").patch("k", { n: 2, visits: increment(3) });
    document.title = JSON.stringify(db.collection("c").get("k"));
  `,
};

test("the packed package works in an outside app that Vite builds without plugins", async () => {
  const folder = await mkdtemp(join(tmpdir(), "headwater-vite-"));
  const browserFolder = await profile();
  let browser;
  let site;
  try {
    const packed = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], { cwd: PACKAGE });
    const [{ filename, files }] = JSON.parse(packed.stdout);
    const names = files.map((file) => file.path);
    for (const name of ["dist/index.js", "dist/index.d.ts", "wasm/headwater_bg.wasm", "README.md"]) {
      assert.ok(names.includes(name), `${name} is missing in ${names}`);
    }
    const app = join(folder, "app");
    await mkdir(app);
    for (const [name, text] of Object.entries(APP)) await writeFile(join(app, name), text);
    await run("npm", ["install", "--no-audit", "--no-fund", `../${filename}`, "vite@8"], { cwd: app });
    await run("npx", ["vite", "build"], { cwd: app });
    const assets = await readdir(join(app, "dist/assets"));
    assert.ok(assets.some((name) => /^headwater_bg-.*\.wasm$/.test(name)), `no wasm asset in ${assets}`);
    site = await serve(join(app, "dist"));
    browser = await launch(browserFolder);
    const page = await browser.context.newPage();
    await page.goto(site.url);
    await page.waitForFunction(() => document.title !== "");
    assert.deepEqual(JSON.parse(await page.title()), { n: 2, visits: 3 });
  } finally {
    await browser?.close();
    await site?.close();
    for (const used of [folder, browserFolder]) await rm(used, { recursive: true, force: true });
  }
});
