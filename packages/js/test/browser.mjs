// Chromium in a process group of its own, so that a test can kill all of it at once.
import { spawn } from "node:child_process";
import { access, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { serve } from "./static.mjs";

export const PACKAGE = dirname(dirname(fileURLToPath(import.meta.url)));

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--remote-debugging-port=0",
];

async function program() {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const path = join(folder, "chromium");
    if (await access(path).then(() => true, () => false)) return path;
  }
  throw new Error("the tests need `chromium` on the path");
}

/** A new empty folder, for a browser's profile. */
export function profile() {
  return mkdtemp(join(tmpdir(), "headwater-chromium-"));
}

/** Starts a browser on a profile. */
export async function launch(folder) {
  const child = spawn(await program(), [...FLAGS, `--user-data-dir=${folder}`, "about:blank"], {
    detached: true,
    // What it leaves behind when it is killed goes with its profile.
    env: { ...process.env, TMPDIR: folder },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  const endpoint = await new Promise((resolve, reject) => {
    let output = "";
    child.stderr.on("data", (data) => {
      output = (output + data).slice(-100_000);
      const found = output.match(/DevTools listening on (ws:\S+)/);
      if (found) resolve(found[1]);
    });
    exited.then(() => reject(new Error(`chromium ended: ${output}`)));
  });
  const browser = await chromium.connectOverCDP(endpoint);
  const [context] = browser.contexts();
  return {
    context,
    /** SIGKILL to every process of the browser at this moment. */
    async kill() {
      if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid, "SIGKILL");
      await exited;
      await browser.close().catch(() => {});
    },
    async close() {
      const session = await browser.newBrowserCDPSession();
      await session.send("Browser.close").catch(() => {});
      await exited;
    },
  };
}

/** A page with the package as `hw`. */
export async function openPage(browser, origin, path = "/test/page.html") {
  const page = await browser.context.newPage();
  page.on("pageerror", (error) => console.error(error));
  await page.goto(origin + path);
  await page.waitForFunction(() => globalThis.hw !== undefined);
  return page;
}

/** A browser and a server of this package's files; `tearDown` ends both. */
export async function setUp() {
  const folder = await profile();
  const site = await serve(PACKAGE);
  const browser = await launch(folder);
  const tearDown = async () => {
    await browser.close();
    await site.close();
    await rm(folder, { recursive: true, force: true });
  };
  return { browser, origin: site.url, tearDown };
}
