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
const DESKTOP = { width: 1280, height: 900 };

const shows = (page, selector, text) =>
  page.waitForFunction(
    ([selector, text]) => document.querySelector(selector)?.textContent.includes(text),
    [selector, text],
  );

/** Saves what the page shows, if anyone asked for pictures. */
async function picture(page, name) {
  const { SCREENSHOTS } = process.env;
  if (!SCREENSHOTS) return;
  await page.bringToFront();
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) });
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
    await page.evaluate(() => window.headwater.ready);
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

/** A person with a store of their own, at a desk or on a phone. */
async function person(browser, site, size, hash) {
  const page = await browser.context.newPage();
  page.on("pageerror", (error) => page.errors.push(error.message));
  page.errors = [];
  await page.setViewportSize(size);
  await page.goto(`${site.url}/#${new URLSearchParams(hash)}`);
  await page.evaluate(() => window.headwater.ready);
  return page;
}

const side = (field, text) => `.settle [data-field="${field}"] .side:has-text("${text}")`;

test("two who edited one airfield apart from each other see both sides, and settle it with a click", async () => {
  const folder = await profile();
  const site = await serve(BUILT);
  const server = await prepareServer();
  let browser;
  try {
    await server.start();
    browser = await launch(folder);
    const ann = await person(browser, site, DESKTOP, { store: "ann", user: "Ann" });
    await ann.click("#new");
    await ann.waitForSelector("#detail:not([hidden])");
    const [key, db] = await ann.evaluate(async (url) => {
      const { db } = window.headwater;
      const fields = db.collection("airports");
      const [[key]] = fields.scan();
      await fields.patch(key, { name: "Gravel strip", iata: "GRV", city: "Bend", condition: "fair" });
      await fields.put("closed", { name: "Old mill", city: "Bend", state: "OR", condition: "poor" });
      const link = db.connect(url);
      await db.synced();
      link.close();
      return [key, db.id];
    }, server.url);
    const bob = await person(browser, site, PHONE, { store: "bob", user: "Bob", db });
    const meet = async () => {
      for (const page of [ann, bob, ann]) {
        await page.evaluate(async (url) => {
          const link = window.headwater.db.connect(url);
          await window.headwater.db.synced();
          link.close();
        }, server.url);
      }
    };
    await meet();

    // Apart from each other; Bob's edits are the later ones.
    await ann.click(`[data-key="${key}"]`);
    await ann.fill('label:has-text("Name") input', "Gravel strip North");
    await ann.press('label:has-text("Name") input', "Tab");
    await ann.selectOption("select", "good");
    await ann.click(".visits button");
    await shows(ann, ".visits strong", "1 visit");
    await ann.evaluate(() => window.headwater.db.collection("airports").delete("closed"));
    await bob.evaluate(async (key) => {
      const fields = window.headwater.db.collection("airports");
      for (let n = 0; n < 20; n++) await fields.patch(key, { elevation: n });
      await fields.patch(key, { name: "Bend gravel", condition: "closed", inspected_at: new Date() });
      await fields.patch("closed", { notes: window.headwater.api.text("Open again since May") });
    }, key);
    await meet();

    // Both are told, and see both sides; of two inspections the later one is no question.
    await shows(ann, '[data-filter="settle"]', "To settle · 2");
    await picture(ann, "desktop-settle");
    await shows(bob, '[data-filter="settle"]', "To settle · 2");
    await picture(bob, "phone-settle-list");
    await bob.click('[data-filter="settle"]');
    assert.equal(await bob.locator(".row").count(), 2);
    await bob.click(`[data-key="${key}"]`);
    await bob.waitForSelector(`${side("name", "Bend gravel")}:has-text("Bob")`);
    await bob.waitForSelector(`${side("name", "Gravel strip North")}:has-text("Ann")`);
    assert.equal(await bob.locator(".settle article").count(), 2);
    const wide = await bob.evaluate(() => document.documentElement.scrollWidth);
    assert.equal(wide, PHONE.width, "the page is as wide as the phone");
    await bob.emulateMedia({ colorScheme: "dark" });
    await picture(bob, "phone-settle-dark");
    await bob.click(`${side("name", "Gravel strip North")} button`);
    await shows(bob, "#detail h2", "Gravel strip North");
    await bob.click(`${side("condition", "closed")} button`);
    await bob.waitForSelector(".settle", { state: "hidden" });
    assert.equal(await bob.inputValue("select"), "closed");
    await meet();
    await shows(ann, "#detail h2", "Gravel strip North");
    await ann.waitForSelector(".settle", { state: "hidden" });
    await shows(ann, '[data-filter="settle"]', "To settle · 1");

    // The airfield that Ann deleted stays with Bob's edit, until she has seen it.
    await ann.click('[data-filter="settle"]');
    await ann.click('[data-key="closed"]');
    await ann.setViewportSize(PHONE);
    await picture(ann, "phone-deleted");
    await ann.setViewportSize(DESKTOP);
    await ann.click(`${side("", "Deleted")} button`);
    await shows(ann, "#empty", "All settled");
    await meet();
    assert.equal(await bob.evaluate(() => window.headwater.db.collection("airports").get("closed")), undefined);

    // Where deletes win, the edit that lost is in the list all the same, and is brought back.
    await ann.evaluate(async () => {
      const { db } = window.headwater;
      await db.declare("airports", { delete: "delete-wins" });
      await db.collection("airports").put("lost", { name: "Old mill", city: "Bend", state: "OR" });
    });
    await meet();
    await bob.evaluate(() => window.headwater.db.collection("airports").delete("lost"));
    await ann.evaluate(() => window.headwater.db.collection("airports").patch("lost", { condition: "good" }));
    await meet();
    await shows(ann, '.row[data-key="lost"]', "Deleted");
    await ann.click('[data-key="lost"]');
    await shows(ann, ".settle", "Bob deleted this airfield while Ann edited it");
    assert.ok(await ann.isHidden("textarea"), "there is no form for what is deleted");
    await ann.emulateMedia({ colorScheme: "dark" });
    await picture(ann, "desktop-lost-dark");
    await ann.click(".settle button:has-text('Bring it back')");
    await ann.waitForSelector("textarea", { state: "visible" });
    await shows(ann, "#empty", "All settled");
    await meet();
    assert.equal(await bob.evaluate(() => window.headwater.db.collection("airports").get("lost").condition), "good");
    assert.deepEqual([...ann.errors, ...bob.errors], []);
  } finally {
    await browser?.close();
    await site.close();
    await server.remove();
    await rm(folder, { recursive: true, force: true });
  }
});
