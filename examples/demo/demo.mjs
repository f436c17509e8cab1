// The main job, end to end: records edited offline in two real browsers and a native peer merge over two linked servers with
// no coordinator, and a real Drillbit answers SQL over them. Exits with 1 unless every check holds.
// With --screenshots FOLDER it leaves pictures there of what Ann's and Bob's browsers show, offline and merged.
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { openApp } from "./browsers.mjs";
import { Checks, differences, until } from "./check.mjs";
import { link } from "./links.mjs";
import { drill, fieldApp, headwater, nativePeer, serve, stopAll } from "./processes.mjs";

const { screenshots } = parseArgs({ options: { screenshots: { type: "string" } } }).values;
const started = performance.now();
const seconds = () => `${((performance.now() - started) / 1000).toFixed(1)} s`.padStart(8);
const say = (text) => console.log(`${seconds()}  ${text}`);
const checks = new Checks();

const folder = await mkdtemp(path.join(tmpdir(), "headwater-demo-"));
const data = path.resolve("examples/demo/node_modules/vega-datasets/data");
const links = [];

/** A link to a server, which can be cut. */
async function linkTo(target) {
  const made = await link(target);
  links.push(made);
  return made;
}

async function run() {
  say("importing movies.json and airports.csv as a native peer, offline");
  const mine = path.join(folder, "native");
  const imported = async (file, ...args) =>
    JSON.parse(await headwater("import", path.join(data, file), "--data", mine, "--json", ...args));
  const movies = await imported("movies.json", "--create", "field", "--collection", "movies", "--key", "hash");
  const types = ["--type", "latitude=float", "--type", "longitude=float"];
  await imported("airports.csv", "--database", "field", "--collection", "airports", "--key", "iata", ...types);
  const again = await imported("movies.json", "--database", "field", "--collection", "movies", "--key", "hash");
  checks.that("importing movies.json again changes nothing", again.inserted === 0 && again.updated === 0);
  const { database } = movies;
  say(`${movies.inserted} movies in database ${database}`);

  say("starting two servers that link to each other, a Drillbit, and the app in two Chromium profiles");
  const a = await serve(path.join(folder, "a"), "127.0.0.1:0");
  const between = await linkTo(a);
  const b = await serve(path.join(folder, "b"), "127.0.0.1:0", "--peer", `ws://127.0.0.1:${between.port}`);
  const [toA, toB, nativeToB] = [await linkTo(a), await linkTo(b), await linkTo(b)];
  const sql = await drill(a.lake);
  const native = nativePeer(mine, database);
  await native.run({ connect: `ws://127.0.0.1:${nativeToB.port}` });
  const app = await fieldApp();
  const ann = await openApp(path.join(folder, "ann"), app, database, toA.port);
  const bob = await openApp(path.join(folder, "bob"), app, database, toB.port);
  const everyone = [["Ann's browser", () => ann.json()], ["Bob's browser", () => bob.json()], ["the native peer", () => native.run({ json: true })]];
  const agree = async () => {
    const views = await Promise.all(everyone.map(([, json]) => json()));
    return views.every((view) => view === views[0]) && views[0];
  };
  const first = await until("everyone has the import", async () => {
    const view = await agree();
    return view && Object.keys(JSON.parse(view).movies ?? {}).length === 3201 && view;
  }, 120_000);
  say(`everyone has the import, after ${first.ms} ms`);
  const count = async (table) => Number((await sql.query(`SELECT count(*) AS n FROM headwater.${table}`))[0][0]);
  const tables = await until("the Drillbit has both tables", async () => {
    try {
      return (await count("movies")) === 3201 && (await count("airports")) === 3376;
    } catch {
      return false;
    }
  });
  say(`the Drillbit counts 3,201 movies and 3,376 airports, after ${tables.ms} ms more`);

  await prepare(ann);
  await until("the preparation is everywhere", agree);
  say("cutting the link between the servers; Bob edits, and server B is killed with -9 as soon as it says that it has the edit");
  between.cut();
  await bob.edit((db) => db.collection("airports").patch("LAX", { inspected_by: "Bob" }));
  await until("server B has Bob's edit", async () => (await bob.state()).unsynced === 0);
  await b.kill();
  links.forEach((one) => one.cut());
  const kept = await headwater("cat", "airports", "--database", database, "--data", b.data, "--json");
  checks.that("the killed server has the edit on its disk", kept.includes('"inspected_by":"Bob"'));
  await until("nobody is connected", async () => {
    const states = [await ann.state(), await bob.state(), await native.run({ state: true })];
    return states.every((state) => !state.connected);
  });
  say("every link is cut; everyone edits");
  const before = JSON.parse(await bob.json());
  const keys = await offlineEdits(ann, bob, native, before);
  await pictures("offline");
  say(`edited offline: Ann ${(await ann.state()).unsynced}, Bob ${(await bob.state()).unsynced}, native ${(await native.run({ state: true })).unsynced} edits on no server`);

  say("restarting server B and restoring the links");
  await serve(path.join(folder, "b"), `127.0.0.1:${b.port}`, "--peer", `ws://127.0.0.1:${between.port}`);
  links.forEach((one) => one.restore());
  await Promise.all([ann.retry(), bob.retry()]);
  await native.run({ disconnect: true });
  await native.run({ connect: `ws://127.0.0.1:${nativeToB.port}` });
  const merged = await until("everyone is equal and nothing is unsynced", async () => {
    const states = [await ann.state(), await bob.state(), await native.run({ state: true })];
    return states.every((state) => state.connected && state.unsynced === 0) && agree();
  }, 120_000);
  say(`all three peers are equal, ${merged.ms} ms after the links came back`);
  const after = JSON.parse(merged.value);
  judge(before, after, keys);
  await judgeTables(sql, after, keys);
  await pictures("merged");

  async function pictures(when) {
    if (!screenshots) return;
    await mkdir(screenshots, { recursive: true });
    await ann.picture(path.join(screenshots, `ann-${when}.png`), "ORD");
    await bob.picture(path.join(screenshots, `bob-${when}.png`), "ORD");
  }
}

/** Gives the records that are to be edited a counter and a text. */
async function prepare(ann) {
  await ann.edit(async (db, api) => {
    await db.collection("airports").patch("ORD", { visits: api.counter(10), notes: api.text("runway fine") });
    await db.collection("airports").patch("JFK", { visits: api.counter(0) });
  });
}

/** Everyone edits on their own. Gives the keys of the movies that were edited. */
async function offlineEdits(ann, bob, native, before) {
  const [same, different, deleted] = Object.keys(before.movies).slice(100, 103);
  const keys = { same, different, deleted };
  const script = (body) => `async (db, api) => { const keys = ${JSON.stringify(keys)}; const movies = db.collection("movies"); const airports = db.collection("airports"); ${body} }`;
  await ann.edit(script(`
    await movies.patch(keys.same, { Director: "Ann" });
    await movies.patch(keys.different, { Director: "Ann's" });
    await movies.delete(keys.deleted);
    await airports.patch("ORD", { visits: api.increment(3), notes: api.splice(0, 0, "Ann: ") });
    await airports.put("NEW", { name: "New field", state: "IL", opened_by: "Ann" });`));
  await bob.edit(script(`
    await movies.patch(keys.same, { Director: "Bob" });
    await movies.patch(keys.different, { Distributor: "Bob's" });
    await movies.patch(keys.deleted, { Distributor: "kept by Bob" });
    await airports.patch("ORD", { visits: api.increment(4), notes: api.splice(11, 0, ", says Bob") });
    await airports.put("NEW", { name: "New field", city: "Bobville", closed: false });`));
  await native.run({ patch: ["movies", same, { Director: { set: "Native" } }] });
  await native.run({ patch: ["airports", "ORD", { visits: { increment: -2 } }] });
  await native.run({ patch: ["airports", "JFK", { visits: { increment: 7 } }] });
  return keys;
}

function judge(before, after, { same, different, deleted }) {
  console.log("What the peers see:");
  const [movies, airports] = [after.movies, after.airports];
  const director = movies[same]?.Director;
  checks.oneOf("one field on three sides has a value that was written", director, ["Ann", "Bob", "Native"]);
  checks.equal("different fields both stand", [movies[different]?.Director, movies[different]?.Distributor], ["Ann's", "Bob's"]);
  checks.equal("the edit outlives the delete", movies[deleted]?.Distributor, "kept by Bob");
  checks.equal("the counter is exact", airports.ORD.visits, 10 + 3 + 4 - 2);
  checks.equal("the other counter too", airports.JFK.visits, 7);
  checks.equal("the text has both edits", airports.ORD.notes, "Ann: runway fine, says Bob");
  const created = { city: "Bobville", closed: false, name: "New field", opened_by: "Ann", state: "IL" };
  checks.equal("two creations of one key are one record", airports.NEW, created);
  const expected = structuredClone(before);
  Object.assign(expected.movies[same], { Director: director });
  Object.assign(expected.movies[different], { Director: "Ann's", Distributor: "Bob's" });
  Object.assign(expected.movies[deleted], { Distributor: "kept by Bob" });
  Object.assign(expected.airports.ORD, { visits: 15, notes: "Ann: runway fine, says Bob" });
  Object.assign(expected.airports.JFK, { visits: 7 });
  expected.airports.NEW = created;
  checks.equal("nothing else changed", differences(expected, after), []);
}

async function judgeTables(sql, after, keys) {
  console.log("What the Drillbit sees:");
  const text = (key) => `'${key.replaceAll("'", "''")}'`;
  const wanted = [after.movies[keys.same].Director, after.airports.ORD.visits, after.airports.ORD.notes];
  const row = async () => {
    const [[director]] = await sql.query(`SELECT Director FROM headwater.movies WHERE \`_key\` = ${text(keys.same)}`);
    const [[visits, notes]] = await sql.query("SELECT visits, notes FROM headwater.airports WHERE `_key` = 'ORD'");
    return [director, Number(visits), notes];
  };
  const seen = await until("the Drillbit has the merged state", async () => {
    const found = await row();
    return JSON.stringify(found) === JSON.stringify(wanted) && found;
  }, 20_000).catch(async () => ({ value: await row(), ms: 20_000 }));
  checks.equal(`the same values, ${seen.ms} ms after the check began`, seen.value, wanted);
  const [[total, numbers]] = await sql.query('SELECT count(*), sum(`US Gross`) FROM headwater.movies');
  checks.equal("as many movies", Number(total), 3201);
  const gross = Object.values(after.movies).reduce((sum, movie) => sum + (movie["US Gross"] ?? 0), 0);
  checks.equal("the sum over all grosses", Number(numbers), gross);
}

try {
  await run();
} catch (error) {
  checks.failed += 1;
  console.error(`\nThe demo failed: ${error.stack}`);
} finally {
  links.forEach((one) => one.close());
  await stopAll();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
}
say(checks.failed === 0 ? "all checks hold" : `${checks.failed} checks failed`);
process.exit(checks.failed === 0 ? 0 : 1);
