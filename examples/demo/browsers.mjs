// Chromium profiles with the example app open on one database.
import { chromium } from "playwright-core";

const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-dev-shm-usage",
];

export async function openApp(profile, app, database, serverPort) {
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: ARGS,
    // What it leaves behind goes with its profile.
    env: { ...process.env, TMPDIR: profile },
  });
  const page = context.pages()[0] ?? (await context.newPage());
  page.on("pageerror", (error) => console.error("  page error:", error.message));
  const hash = `#db=${database}&server=ws://127.0.0.1:${serverPort}&store=field-app`;
  await page.goto(`${app}${hash}`);
  await page.evaluate(() => window.headwater.ready);
  return {
    page,
    close: () => context.close(),
    json: () => page.evaluate(() => window.headwater.db.toJson()),
    state: () => page.evaluate(() => {
      const { connected, unsynced } = window.headwater.db.syncState;
      return { connected, unsynced };
    }),
    retry: () => page.evaluate(() => window.dispatchEvent(new Event("online"))),
    /** What the app shows of an airport, as a PNG file. */
    async picture(file, key) {
      const name = await page.evaluate((key) => window.headwater.db.collection("airports").get(key).name, key);
      await page.fill("#search", name);
      await page.click(`[data-key="${key}"]`);
      await page.screenshot({ path: file });
    },
    /** Runs `edit(db, api)` in the page. */
    edit: (edit) => page.evaluate(`(${edit})(window.headwater.db, window.headwater.api)`),
  };
}
