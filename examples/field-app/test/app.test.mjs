// A person on a phone uses the built app: at first without any server, later with one.
import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch, profile } from "../../../packages/js/test/browser.mjs";
import { prepareServer } from "../../../packages/js/test/server.mjs";
import { serve } from "../../../packages/js/test/static.mjs";

const BUILT = fileURLToPath(new URL("../dist", import.meta.url));
const PHONE = { width: 390, height: 844 };

const shows = (page, selector, text) =>
  page.waitForFunction(
    ([selector, text]) => document.querySelector(selector)?.textContent.includes(text),
    [selector, text],
  );

/** Saves what the page shows, if anyone asked for pictures. */
async function picture(page, name) {
  const { SCREENSHOTS } = process.env;
  if (SCREENSHOTS) await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) });
}

test("an airfield is added and inspected on a phone without a network, and synced later", async () => {
  const folder = await profile();
  const site = await serve(BUILT);
  const server = await prepareServer();
  let browser;
  try {
    browser = await launch(folder);
    const page = await browser.context.newPage();
    const errors = [];
    page.on("pageerror", (error) => errors.push(error.message));
    await page.setViewportSize(PHONE);
    await page.goto(site.url);
    await page.evaluate(() => window.headwater.ready.then(() => window.headwater.stored));
    await shows(page, "#empty", "No airfields yet");
    await picture(page, "phone-empty");

    await site.close();
    await page.reload();
    await page.click("#new");
    await page.fill('label:has-text("Name") input', "Gravel strip");
    await page.click("text=Log a visit");
    await page.click("text=Log a visit");
    await page.fill("textarea", "Soft at the north end");
    await page.selectOption("select", "poor");
    await shows(page, ".status", "Saved on this device");
    await shows(page, ".visits strong", "2 visits");
    await picture(page, "phone-form");
    await page.click("text=‹ Back");
    await shows(page, "#badge-text", "On this device");
    await shows(page, "#badge-text", "not yet on a server");
    await shows(page, ".row .name", "Gravel strip");
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.equal(wide, PHONE.width, "the page is as wide as the phone");
    await picture(page, "phone-list");

    await server.start();
    await page.click("#badge");
    await page.fill('#server-form input[name="server"]', server.url);
    await picture(page, "phone-sync");
    await page.click('#server-form button[type="submit"]');
    await shows(page, "#badge-text", "All synced");
    await page.keyboard.press("Escape");

    // A second phone gets it from the server alone.
    const hash = await page.evaluate(() => `#db=${window.headwater.db.id}`);
    const other = await browser.context.newPage();
    await other.setViewportSize(PHONE);
    await other.goto(`${site.url}/${hash}&store=other&server=${server.url}`);
    await shows(other, ".row .name", "Gravel strip");
    await other.click("text=Gravel strip");
    await shows(other, ".visits strong", "2 visits");
    assert.equal(await other.inputValue("textarea"), "Soft at the north end");

    // What is deleted can be put back.
    await other.click("text=Delete airfield");
    await shows(page, "#empty", "No airfields yet");
    await other.click("text=Undo");
    await shows(page, ".row .name", "Gravel strip");
    await page.click("text=Gravel strip");
    await shows(page, ".visits strong", "2 visits");
    assert.deepEqual(errors, []);
  } finally {
    await browser?.close();
    await server.remove();
    await rm(folder, { recursive: true, force: true });
  }
});
