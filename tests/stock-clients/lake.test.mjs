// Plain documents that the configuration maps are tables of the lake, and no others are.
import { RawString } from "@automerge/automerge-repo";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { prepareServer } from "../../packages/js/test/server.mjs";
import { client, until } from "./clients.mjs";

let folder;
let server;
let ann;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "headwater-stock-"));
  server = await prepareServer();
  ann = client(server.url);
});
after(async () => {
  await ann?.close();
  await server?.remove();
  await rm(folder, { recursive: true, force: true });
});

/** The arguments of a server whose configuration maps these documents. */
async function mapping(...collections) {
  const path = join(folder, "headwater.toml");
  const text = ({ handle, ...names }) =>
    ["[[plain]]", `document = "${handle.url}"`, ...Object.entries(names).map(([name, value]) => `${name} = "${value}"`)];
  await writeFile(path, collections.flatMap(text).join("\n"));
  return ["--allow-plain", "--config", path];
}

/** The parts in a version's folder, by way of its groups. */
async function parts(folder) {
  const entries = (await readdir(folder)).filter((name) => !name.startsWith(".")).map((name) => join(folder, name));
  const found = entries.map(async (path) => ((await stat(path)).isDirectory() ? parts(path) : [path]));
  return (await Promise.all(found)).flat();
}

/** What is published: the rows of each collection's table, by the version's folder that its view names. */
async function tables() {
  const found = {};
  const views = (await readdir(server.lake).catch(() => [])).filter((name) => /^[a-z]+\.view\.drill$/.test(name));
  for (const file of views) {
    const { name, sql } = JSON.parse(await readFile(join(server.lake, file), "utf8"));
    const version = join(server.lake, /`(\.headwater\/[^`]+)`/.exec(sql)[1]);
    found[name] = [];
    for (const part of await parts(version)) {
      const lines = (await readFile(part, "utf8")).trimEnd().split("\n");
      // The row without a key is there for Drill to learn the types of a table without rows.
      found[name].push(...lines.map((line) => JSON.parse(line)).filter((row) => row._key !== null));
    }
    found[name].sort((a, b) => (a._key < b._key ? -1 : 1));
  }
  return found;
}

/** What the row of `key` must be; fields that are absent or null are left out of the files. */
const row = (handle, key, fields) => ({ _key: key, _database: handle.documentId, ...fields });

test("mapped documents, and only those, are in the lake, before and after a crash", async () => {
  const tasks = ann.repo.create({
    tasks: {
      milk: { title: "Buy milk", price: 1.5, count: 2, done: false, owner: null },
      bread: { title: new RawString("Bread"), price: 2, count: 9007199254740991, done: true },
      scalar: "not a row",
    },
    private: { secret: { title: "not mapped" } },
  });
  const notes = ann.repo.create({ items: [{ id: "n1", text: "one" }, { id: "n2", text: "two" }, { text: "no key" }] });
  const other = ann.repo.create({ tasks: { hidden: { title: "of no table" } }, items: [{ id: "hidden" }] });
  const both = [
    { handle: tasks, collection: "tasks", root: "tasks" },
    { handle: notes, collection: "notes", root: "items", key: "id" },
  ];
  await server.start(...(await mapping(...both)));
  for (const handle of [tasks, notes, other]) await ann.saved(handle);
  const bread = row(tasks, "bread", { count: 9007199254740991, done: true, price: 2, title: "Bread" });
  const milk = row(tasks, "milk", { count: 2, done: false, price: 1.5, title: "Buy milk" });
  const note = (id, text) => row(notes, id, { id, text });
  await until("the rows are published", async () => [
    await tables(),
    { notes: [note("n1", "one"), note("n2", "two")], tasks: [bread, milk] },
  ]);

  tasks.change((doc) => {
    delete doc.tasks.milk;
    doc.tasks.bread.price = 3.25;
  });
  notes.change((doc) => doc.items.splice(0, 1));
  other.change((doc) => (doc.tasks.hidden.title = "still of no table"));
  bread.price = 3.25;
  await until("the edits are published", async () => [await tables(), { notes: [note("n2", "two")], tasks: [bread] }]);

  await ann.saved(other);
  await server.stop("SIGKILL");
  await ann.connected(false);
  // Edited while the server is down, and other documents are mapped from now on; nobody edits the one that is new.
  tasks.change((doc) => (doc.tasks.eggs = { title: "Eggs" }));
  await server.start(...(await mapping(both[0], { handle: other, collection: "later", root: "tasks" })));
  const eggs = row(tasks, "eggs", { title: "Eggs" });
  const shown = row(other, "hidden", { title: "still of no table" });
  await until("the lake is as configured", async () => [await tables(), { later: [shown], notes: [], tasks: [bread, eggs] }]);
});
