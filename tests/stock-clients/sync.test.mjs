// Stock automerge-repo clients sync over a real server.
import { generateAutomergeUrl } from "@automerge/automerge-repo";
import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { afterEach, beforeEach, test } from "node:test";
import { prepareServer } from "../../packages/js/test/server.mjs";
import { becomes, client, content, until } from "./clients.mjs";

let server;
let clients;

beforeEach(async () => {
  clients = [];
  server = await prepareServer();
  await server.start("--allow-plain");
});
afterEach(async () => {
  for (const one of clients) await one.close();
  await server.remove();
});

function person() {
  const one = client(server.url);
  clients.push(one);
  return one;
}

/** Two clients that both have a document. */
async function pair(initial) {
  const [ann, bob] = [person(), person()];
  const hers = ann.repo.create(initial);
  await ann.saved(hers);
  const his = await bob.repo.find(hers.url);
  return { ann, bob, hers, his };
}

test("both see each other's edits, those made at once too", async () => {
  const { hers, his } = await pair({ title: "Plan", tags: ["a"], done: { count: 1 } });
  assert.deepEqual(content(his), { title: "Plan", tags: ["a"], done: { count: 1 } });

  his.change((doc) => doc.tags.push("b"));
  await becomes(hers, { title: "Plan", tags: ["a", "b"], done: { count: 1 } });

  hers.change((doc) => (doc.done.count = 2));
  his.change((doc) => (doc.owner = "Bob"));
  const both = { title: "Plan", tags: ["a", "b"], done: { count: 2 }, owner: "Bob" };
  await becomes(hers, both);
  await becomes(his, both);
});

test("ephemeral messages are relayed both ways, and not to their sender", async () => {
  const { ann, bob, hers, his } = await pair({ text: "" });
  const [toAnn, toBob] = [hers, his].map((handle) => {
    const got = [];
    handle.on("ephemeral-message", ({ message, senderId }) => got.push([senderId, message]));
    return got;
  });
  hers.broadcast({ cursor: 1 });
  await until("Bob has Ann's message", () => [toBob, [[ann.repo.peerId, { cursor: 1 }]]]);
  his.broadcast({ cursor: 2 });
  // Had hers come back to her, it would be before his.
  await until("Ann has Bob's message alone", () => [toAnn, [[bob.repo.peerId, { cursor: 2 }]]]);
  assert.equal(toBob.length, 1);
});

test("what the server has told to have survives SIGKILL, and edits made meanwhile arrive afterwards", async () => {
  const { ann, bob, hers, his } = await pair({ edits: {} });
  for (let n = 0; n < 50; n += 1) {
    hers.change((doc) => (doc.edits[`ann ${n}`] = n));
    his.change((doc) => (doc.edits[`bob ${n}`] = "x".repeat(n)));
  }
  const other = ann.repo.create({ only: "one message" });
  // Nobody who was there before is to help.
  ann.stayAway();
  bob.stayAway();
  await Promise.all([ann.saved(hers), ann.saved(other), bob.saved(his)]);
  await server.stop("SIGKILL");

  const acknowledged = content(his);
  await server.start("--allow-plain");
  const carl = person();
  const found = await carl.repo.find(hers.url);
  assert.equal(Object.keys(content(found).edits).length, 100);
  assert.deepEqual(content(found), acknowledged);
  assert.deepEqual(content(await carl.repo.find(other.url)), { only: "one message" });

  const dora = person();
  const hersToo = await dora.repo.find(hers.url);
  await server.stop("SIGKILL");
  await Promise.all([carl.connected(false), dora.connected(false)]);
  found.change((doc) => (doc.meanwhile = "Carl"));
  hersToo.change((doc) => (doc.also = "Dora"));
  const made = carl.repo.create({ made: "while the server was down" });
  await server.start("--allow-plain");
  const all = { ...acknowledged, meanwhile: "Carl", also: "Dora" };
  await becomes(found, all);
  await becomes(hersToo, all);
  await carl.saved(made);
  assert.deepEqual(content(await dora.repo.find(made.url)), { made: "while the server was down" });
});

test("a document that nobody has is unavailable soon, and leaves nothing behind", async () => {
  const ann = person();
  await ann.connected(true);
  const begun = performance.now();
  const nowhere = generateAutomergeUrl();
  await assert.rejects(ann.repo.find(nowhere), /is unavailable/);
  // Unless the server says so, a client waits for a minute.
  const seconds = (performance.now() - begun) / 1000;
  assert.ok(seconds < 5, `it took ${seconds} s`);

  // Nor do plain documents get into the lake unless the configuration says so.
  const kept = ann.repo.create({ tasks: { first: { title: "x" } } });
  await ann.saved(kept);
  ann.stayAway();
  await server.stop();
  const visible = (await readdir(server.lake)).filter((name) => !name.startsWith("."));
  assert.deepEqual(visible, []);
});
