// Ann and Bob edit one record offline, and meet through a server.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openPage, setUp } from "./browser.mjs";
import { prepareServer } from "./server.mjs";

let browser;
let origin;
let server;
let tearDown = () => {};
before(async () => {
  ({ browser, origin, tearDown } = await setUp());
  server = await prepareServer();
  await server.start();
});
after(async () => {
  await tearDown();
  await server?.remove();
});

const RESOLVERS = `{
  "longest@1": (values) => values.reduce((a, b) => (b.length > a.length ? b : a)),
  "throws@1": () => { throw new Error("the resolver's own") },
  "wrong@1": () => () => "no value",
  "reads@1": () => db.collection("things").get("k").f,
}`;

/** Ann and Bob, each with the record `k` of the collection `things`, and offline. */
async function meeting(schema, record) {
  const people = [];
  for (const user of ["ann", "bob"]) {
    const page = await openPage(browser, origin);
    page.errors = [];
    page.on("console", (message) => message.type() === "error" && page.errors.push(message.text()));
    await page.evaluate(
      async ([user, resolvers]) => {
        const options = { durability: "memory", user, origin: "tests", resolvers: eval(`(${resolvers})`) };
        globalThis.peer = await hw.openPeer(options);
      },
      [user, RESOLVERS],
    );
    people.push(page);
  }
  const [ann, bob] = people;
  const id = await ann.evaluate(
    async ([schema, record]) => {
      globalThis.db = await peer.create();
      globalThis.things = db.collection("things");
      await db.declare("things", schema);
      await things.put("k", record);
      return db.id;
    },
    [schema, record],
  );
  await bob.evaluate(async (id) => {
    globalThis.db = await peer.open(id);
    globalThis.things = db.collection("things");
  }, id);
  const sync = (page) =>
    page.evaluate(async (url) => {
      const link = db.connect(url);
      await db.synced();
      link.close();
    }, server.url);
  const meet = async () => {
    for (const page of [ann, bob, ann]) await sync(page);
    assert.equal(await ann.evaluate(() => db.toJson()), await bob.evaluate(() => db.toJson()));
  };
  await meet();
  return { ann, bob, meet, close: () => Promise.all(people.map((page) => page.close())) };
}

/** Both edit; Bob's last edit is the later one. */
async function edit({ ann, bob, meet }, anns, bobs) {
  await ann.evaluate(anns);
  await bob.evaluate(async () => {
    for (let n = 0; n < 20; n++) await things.patch("k", { filler: n });
  });
  await bob.evaluate(bobs);
  await meet();
}

test("one declaration has types, policies, the delete rule and a version", async () => {
  const all = await meeting({}, {});
  const got = await all.ann.evaluate(async () => {
    const schema = hw.defineSchema({
      version: 2,
      fields: { visits: "counter", best: { type: "int", policy: "max" }, tags: { policy: "union" } },
      delete: "delete-wins",
      partitions: 8,
    });
    await db.declare("declared", schema);
    await db.declare("declared", { version: 1, fields: { name: { policy: "custom:longest@1" } } });
    const refused = {};
    const bad = {
      policy: { fields: { a: { policy: "median" } } },
      type: { fields: { a: { type: "varchar" } } },
      decimal: { fields: { a: { type: "decimal(39,4)" } } },
      column: { fields: { a: { column: true } } },
      part: { fields: { a: { kind: "int" } } },
      rule: { delete: "nobody-wins" },
      version: { version: 1.5 },
      name: { partition: 4 },
    };
    for (const [name, schema] of Object.entries(bad)) {
      refused[name] = await db.declare("bad", schema).then(() => "declared", (error) => error.code);
    }
    await db.collection("declared").put("k", { best: 3 });
    const wrong = await db.collection("declared").patch("k", { best: "4" }).catch((error) => error.code);
    return { info: db.collections().declared, refused, wrong, bad: db.collections().bad };
  });
  assert.deepEqual(got.info, {
    partitions: [8],
    fields: { best: "int", visits: "counter" },
    policies: { best: "max", name: "custom:longest@1", tags: "union" },
    columns: {},
    delete: "delete-wins",
    version: 2,
  });
  assert.deepEqual(new Set(Object.values(got.refused)), new Set(["bad-argument"]));
  assert.equal(got.wrong, "type-mismatch");
  assert.equal(got.bad, undefined, "a refused declaration declares nothing");
  await all.close();
});

test("a collection with a schema keeps the fields that the schema does not name", async () => {
  const all = await meeting({}, { f: 1, newer: { a: 1 }, gone: 1 });
  const got = await all.ann.evaluate(async () => {
    const older = db.collection("things", hw.defineSchema({ fields: { f: "int", gone: "int" } }));
    await older.put("k", { f: 2 });
    const kept = things.get("k");
    await older.putMany([["k", { f: 3 }]]);
    const many = things.get("k");
    await things.put("k", { f: 4 });
    return { kept, many, replaced: things.get("k") };
  });
  assert.deepEqual(got, {
    kept: { f: 2, newer: { a: 1 } },
    many: { f: 3, newer: { a: 1 } },
    replaced: { f: 4 },
  });
  await all.close();
});

test("each policy decides between two who edit offline", async () => {
  const fields = {
    visits: "counter",
    best: { type: "int", policy: "max" },
    least: { policy: "min" },
    tags: { policy: "union" },
    phone: { type: "string", policy: "keep-all" },
    name: { type: "text", policy: "custom:longest@1" },
  };
  const start = { visits: 1, best: 10, least: 10, tags: ["red", "blue"], phone: "0", name: "?", status: "new" };
  const all = await meeting({ fields }, start);
  await edit(
    all,
    () => things.patch("k", {
      visits: hw.increment(2), best: 20, least: 5, tags: hw.discard("red", "blue"), phone: "1", name: "the longest of them", status: "open",
    }),
    () => things.patch("k", {
      visits: hw.increment(3), best: 15, least: 7, tags: hw.add("black", "blue"), phone: "2", name: "short", status: "closed",
    }),
  );
  const { filler, ...record } = await all.ann.evaluate(() => things.get("k"));
  assert.deepEqual(record, {
    visits: 6,
    best: 20,
    least: 5,
    tags: ["black", "blue"],
    phone: ["1", "2"],
    name: "the longest of them",
    status: "closed",
  });
  const open = await all.bob.evaluate(() => things.conflicts());
  const shown = open.map(({ field, policy, shown, losers, resolved }) => [field.join("."), policy, shown, losers.map((loser) => loser.value), resolved]);
  assert.deepEqual(shown, [
    ["best", "max", 20, [15], true],
    ["least", "min", 5, [7], true],
    ["name", "custom:longest@1", "the longest of them", ["short"], true],
    ["status", "last-writer", "closed", ["open"], true],
  ]);
  const typed = await all.bob.evaluate(async () => {
    // A text that a resolver gives back is still one.
    await things.settle({ key: "k", field: "name" }, { accept: true });
    await things.patch("k", { name: hw.splice(0, 3, "The"), best: hw.reset(2) });
    // What is read of a field that keeps all can be put back.
    const record = things.get("k");
    await things.put("k", { ...record, phone: [...record.phone, "3"] });
    return things.get("k");
  });
  assert.deepEqual([typed.name, typed.best, typed.phone], ["The longest of them", 2, ["1", "2", "3"]]);
  await all.close();
});

test("a conflict tells who, when and what, and is settled", async () => {
  const all = await meeting({}, { status: "new", place: { city: "?", zip: 1 } });
  const { ann, bob, meet } = all;
  await ann.evaluate(() => {
    globalThis.told = [];
    globalThis.stop = things.subscribeConflicts((change) => told.push(change));
  });
  const began = Date.now();
  await edit(
    all,
    () => things.patch("k", { status: "open", place: hw.merge({ city: "Ann's" }) }),
    () => things.patch("k", { status: "closed", place: hw.merge({ city: "Bob's" }) }),
  );
  await ann.waitForFunction(() => told.length > 0);
  const got = await ann.evaluate(() => ({
    told,
    all: things.conflicts(),
    of: things.conflictsOf("k"),
    page: things.conflicts({ after: "k" }),
    none: things.conflictsOf("absent"),
    dates: things.conflictsOf("k").every(({ winner, losers }) => [winner, ...losers].every(({ by }) => by.at instanceof Date)),
    writers: things.provenance("k").map(({ field, by }) => [field.join("."), by.user]),
  }));
  assert.ok(got.dates);
  assert.deepEqual(got.of, got.all);
  assert.deepEqual(got.told.at(-1), { collection: "things", key: "k", open: got.all });
  assert.deepEqual([got.page, got.none], [[], []]);
  assert.deepEqual(got.writers, [["filler", "bob"], ["place.city", "bob"], ["place.zip", "ann"], ["status", "bob"]]);
  const [city, status] = got.all;
  assert.deepEqual([city.field, city.shown], [["place", "city"], "Bob's"]);
  const { winner, losers, ...rest } = status;
  assert.deepEqual(rest, {
    collection: "things",
    key: "k",
    field: ["status"],
    kind: "values",
    policy: "last-writer",
    shown: "closed",
    resolved: true,
  });
  assert.deepEqual([winner.value, winner.by.user, losers.length], ["closed", "bob", 1]);
  const [{ id, value, by }] = losers;
  assert.deepEqual([value, by.user, by.origin], ["open", "ann", "tests"]);
  assert.match(by.actor, /^[0-9a-f]+$/);
  assert.match(by.change, /^[0-9a-f]{64}$/);
  assert.ok(new Date(by.at) - began < 600_000);

  // A click for either; the other end is told.
  await bob.evaluate((id) => things.settle({ key: "k", field: ["status"] }, { keep: id }), id);
  await ann.evaluate(() => things.settle(things.conflictsOf("k")[0], { write: "Both's" }));
  await meet();
  await ann.waitForFunction(() => told.at(-1).open.length === 0);
  const settled = await ann.evaluate(async () => {
    const code = (how, place = { key: "k", field: "status" }) => things.settle(place, how).then(() => "settled", (error) => error.code);
    stop();
    return {
      record: things.get("k"),
      open: things.conflicts(),
      late: await code({ accept: true }, { key: "absent", field: "status" }),
      gone: await code({ keep: "4/1@00" }),
      record_itself: await code({ accept: true }, { key: "k" }),
      both: await code({ accept: true, write: 1 }),
      nothing: await code({}),
    };
  });
  assert.equal(settled.record.status, "open");
  assert.deepEqual(settled.record.place, { city: "Both's", zip: 1 });
  assert.deepEqual(settled.open, []);
  const codes = [settled.late, settled.gone, settled.record_itself, settled.both, settled.nothing];
  assert.deepEqual(codes, ["nothing-to-settle", "nothing-to-settle", "nothing-to-settle", "bad-value", "bad-value"]);
  await all.close();
});

for (const rule of ["edit-wins", "delete-wins"]) {
  test(`a delete that met an edit is listed and can be settled either way, with ${rule}`, async () => {
    const all = await meeting({ delete: rule }, { title: "start" });
    const { ann, bob, meet } = all;
    await edit(all, () => things.delete("k"), () => things.patch("k", { title: "edited", filler: hw.remove }));
    const [conflict] = await ann.evaluate(() => things.conflicts());
    const [loser] = conflict.losers;
    assert.deepEqual([conflict.field, conflict.policy], [[], rule]);
    if (rule === "edit-wins") {
      assert.equal(await ann.evaluate(() => things.get("k").title), "edited");
      assert.deepEqual([conflict.kind, conflict.shown], ["delete-lost", { title: "edited" }]);
      assert.deepEqual([loser.value, loser.by.user, conflict.winner], [undefined, "ann", undefined]);
    } else {
      assert.equal(await bob.evaluate(() => things.get("k")), undefined);
      assert.deepEqual([conflict.kind, conflict.shown, conflict.winner.by.user], ["edit-lost", undefined, "ann"]);
      assert.deepEqual([loser.value, loser.by.user], [{ title: "edited" }, "bob"]);
    }
    // The one that lost is kept: the record is gone, or back.
    await ann.evaluate((id) => things.settle(things.conflicts()[0], { keep: id }), loser.id);
    await meet();
    const record = await bob.evaluate(() => things.get("k"));
    assert.deepEqual(record, rule === "edit-wins" ? undefined : { title: "edited" });
    assert.deepEqual(await bob.evaluate(() => things.conflicts()), []);
    await all.close();
  });
}

for (const id of ["throws@1", "wrong@1", "reads@1", "absent@1"]) {
  test(`with the resolver ${id} the last writer's value is shown, unresolved`, async () => {
    const all = await meeting({ fields: { f: { policy: `custom:${id}` } } }, { f: "start" });
    const { ann, bob, meet } = all;
    await edit(all, () => things.patch("k", { f: "ann's" }), () => things.patch("k", { f: "bob's" }));
    const got = await ann.evaluate(() => [things.get("k").f, things.get("k").f, things.conflicts()]);
    const [first, second, [conflict]] = got;
    assert.deepEqual([first, second, conflict.shown, conflict.resolved], ["bob's", "bob's", "bob's", false]);
    assert.deepEqual(conflict.losers.map((loser) => loser.value), ["ann's"]);
    const errors = ann.errors.filter((line) => line.includes(id));
    assert.equal(errors.length, id === "absent@1" ? 0 : 1, ann.errors.join("\n"));
    const why = { "throws@1": /the resolver's own/, "wrong@1": /is a function/, "reads@1": /cannot use the database/ };
    if (errors.length > 0) assert.match(errors[0], why[id]);
    // The database goes on.
    await ann.evaluate((id) => things.settle({ key: "k", field: "f" }, { keep: id }), conflict.losers[0].id);
    await meet();
    assert.equal(await bob.evaluate(() => things.get("k").f), "ann's");
    assert.deepEqual(await bob.evaluate(() => things.conflicts()), []);
    await all.close();
  });
}

test("what is no resolver is refused when the peer is opened", async () => {
  const page = await openPage(browser, origin);
  const failures = await page.evaluate(async () => {
    const bad = [{ longest: () => 1 }, { "longest@": () => 1 }, { "longest@1": "a string" }];
    const failure = (resolvers) => hw.openPeer({ durability: "memory", resolvers }).then(() => "opened", (error) => [error.code, error.message]);
    return Promise.all(bad.map(failure));
  });
  assert.deepEqual(failures.map(([code]) => code), ["bad-argument", "bad-argument", "bad-argument"]);
  assert.match(failures[0][1], /longest@1/);
  await page.close();
});
