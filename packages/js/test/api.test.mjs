import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openPage, setUp } from "./browser.mjs";

let page;
let tearDown = () => {};
before(async () => {
  const { browser, origin, ...rest } = await setUp();
  tearDown = rest.tearDown;
  page = await openPage(browser, origin);
  await page.evaluate(async () => {
    globalThis.peer = await hw.openPeer({ name: "api", origin: "tests", user: "ada" });
    globalThis.db = await peer.create("api");
    // What a call rejects or throws with.
    globalThis.failure = async (call) => {
      try {
        await call();
        return "nothing was thrown";
      } catch (error) {
        return { name: error.name, code: error.code, message: error.message, error: error instanceof Error };
      }
    };
  });
});

after(() => tearDown());

test("every type comes back as it was put", async () => {
  const wrong = await page.evaluate(async () => {
    const values = {
      null: null,
      true: true,
      false: false,
      zero: 0,
      negativeZero: -0,
      integer: 42,
      largestInteger: Number.MAX_SAFE_INTEGER,
      smallestInteger: Number.MIN_SAFE_INTEGER,
      beyond: 2 ** 53,
      fraction: 0.1,
      huge: 1e300,
      nan: NaN,
      infinity: -Infinity,
      i64: -(2n ** 63n),
      u64: 2n ** 64n - 1n,
      empty: "",
      string: 'quotes "and" \\, \u0000, emoji 👩‍🚀, replacement \ufffd',
      date: new Date(-1),
      bytes: new Uint8Array([0, 255, 128]),
      noBytes: new Uint8Array(),
      list: [1, "two", [null, [0.5]], { three: 3n }],
      map: { "": 1, "a.b": { c: [] }, $reserved: "$", 日本: "語" },
    };
    Object.defineProperty(values, "__proto__", { value: "a field", enumerable: true });
    // Integers come back as numbers where these hold them.
    const expected = { ...values, list: [1, "two", [null, [0.5]], { three: 3 }] };
    Object.defineProperty(expected, "__proto__", { value: "a field", enumerable: true });
    await db.collection("types").put("all", values);
    const got = db.collection("types").get("all");
    const same = (a, b) => {
      if (Object.is(a, b)) return true;
      if (typeof a !== "object" || typeof b !== "object" || !a || !b) return false;
      if (a.constructor !== b.constructor) return false;
      if (a instanceof Date) return a.getTime() === b.getTime();
      const names = Object.keys(a).sort();
      return names.join() === Object.keys(b).sort().join() && names.every((name) => same(a[name], b[name]));
    };
    return Object.keys(expected)
      .concat(Object.keys(got))
      .filter((name) => !same(expected[name], got[name]))
      .map((name) => `${name}: ${String(got[name])}`);
  });
  assert.deepEqual(wrong, []);
});

test("canonical JSON tells the kinds apart", async () => {
  const json = await page.evaluate(async () => {
    const other = await peer.create();
    const record = { i: 1, f: 1.5, d: new Date(5), b: new Uint8Array([1]), n: NaN, u: undefined };
    await other.collection("c").put("k", record);
    return other.toJson();
  });
  const record = Object.values(JSON.parse(json)).flatMap((all) => Object.values(all));
  assert.match(json, /"i":1[,}]/);
  assert.match(json, /\{"\$timestamp":5\}/);
  assert.match(json, /\{"\$bytes":"AQ=="\}/);
  assert.match(json, /\{"\$float":"NaN"\}/);
  assert.doesNotMatch(json, /"u"/);
  assert.ok(record.length > 0);
});

test("what has no form as a value is refused, with its place, and changes nothing", async () => {
  const failures = await page.evaluate(async () => {
    const c = db.collection("refused");
    const cycle = { a: [] };
    cycle.a.push(cycle);
    const bad = {
      function: { a: { b: [0, () => 1] } },
      symbol: { a: Symbol("s") },
      class: { a: new (class Point {})() },
      map: { a: new Map() },
      floats: { a: new Float64Array(2) },
      undefined: { a: [undefined] },
      hole: { a: [1, , 3] },
      cycle,
      bigint: { a: 2n ** 64n },
      date: { a: new Date(NaN) },
      surrogate: { a: "\ud800" },
      name: { "\udc00": 1 },
      increment: { a: hw.increment(1) },
      record: [1],
      nothing: null,
      key: 7,
    };
    const result = {};
    for (const [name, record] of Object.entries(bad)) {
      result[name] = await failure(() => c.put(name === "key" ? 7 : name, record));
    }
    result.left = c.scan();
    return result;
  });
  const { left, ...refused } = failures;
  assert.deepEqual(left, []);
  for (const [name, error] of Object.entries(refused)) {
    assert.equal(error.name, "HeadwaterError", `${name}: ${JSON.stringify(error)}`);
    assert.equal(error.code, "bad-value", name);
    assert.equal(error.error, true);
  }
  assert.match(refused.function.message, /^record\.a\.b\[1\] is a function/);
  assert.match(refused.class.message, /an instance of Point/);
  assert.match(refused.undefined.message, /record\.a\[0\] is undefined/);
  assert.match(refused.cycle.message, /record\.a\[0\] contains itself/);
  assert.match(refused.bigint.message, /outside 64 bits/);
});

test("the engine's errors have stable codes and say what to do", async () => {
  const codes = await page.evaluate(async () => {
    const c = db.collection("errors");
    await db.declare("errors", { fields: { count: "counter", name: "string" } });
    await c.put("here", { count: 1, name: "x", list: [1] });
    const code = async (call) => (await failure(call)).code;
    let deep = 1;
    for (let i = 0; i < 70; i++) deep = [deep];
    return {
      "not-found": await code(() => c.patch("nowhere", { a: 1 })),
      "bad-key": await code(() => c.put("", {})),
      "bad-collection": await code(() => db.collection("\n").put("k", {})),
      "type-mismatch": await code(() => c.patch("here", { name: 1 })),
      "wrong-kind": await code(() => c.patch("here", { name: hw.increment(1) })),
      "out-of-range": await code(() => c.patch("here", { list: hw.spliceList(0, 2) })),
      "counter-overflow": await code(() => c.patch("here", { count: hw.increment(2n ** 63n - 1n) })),
      "too-deep": await code(() => c.put("deep", { deep })),
      "too-large": await code(() => c.put("large", { bytes: new Uint8Array(5 << 20) })),
      "unknown-name": await code(() => peer.openNamed("nobody")),
      "name-taken": await code(() => peer.create("api")),
      "bad-id": await code(() => peer.open("nonsense")),
      "bad-url": await code(() => db.connect("http://example.org")),
      "bad-argument": await code(() => db.declare("errors", { fields: { a: "varchar" } })),
    };
  });
  for (const [expected, code] of Object.entries(codes)) assert.equal(code, expected);
});

test("each kind of edit in a patch, and no other field is touched", async () => {
  const got = await page.evaluate(async () => {
    const c = db.collection("patches");
    await c.put("k", {
      kept: 1,
      set: "old",
      gone: true,
      count: hw.counter(5),
      body: hw.text("Hello 👋 world"),
      list: [1, 2, 3],
      nested: { a: 1, b: { c: 2 } },
    });
    const written = await c.patch("k", {
      set: "new",
      gone: hw.remove,
      count: hw.increment(3),
      body: hw.splice(6, 1, "🌍"),
      list: hw.spliceList(1, 1, ["two", 2.5]),
      nested: hw.merge({ a: hw.remove, b: hw.merge({ d: 4 }) }),
      added: hw.increment(),
    });
    const first = c.get("k");
    // Texts and counters stay what they are when they are set to plain values.
    await c.patch("k", { count: 10, body: "Hello world" });
    await c.patch("k", { count: hw.increment(-1), body: hw.splice(0, 5, "Goodbye") });
    return { written, first, second: c.get("k") };
  });
  const { changes, ...counts } = got.written;
  assert.deepEqual(counts, { inserted: 0, updated: 1, unchanged: 0, deleted: 0 });
  assert.equal(changes.length, 1);
  assert.deepEqual(got.first, {
    kept: 1,
    set: "new",
    count: 8,
    body: "Hello 🌍 world",
    list: [1, "two", 2.5, 3],
    nested: { b: { c: 2, d: 4 } },
    added: 1,
  });
  assert.equal(got.second.count, 9);
  assert.equal(got.second.body, "Goodbye world");
});

test("an undefined field is absent in a put and refused in a patch", async () => {
  const got = await page.evaluate(async () => {
    const c = db.collection("undefined");
    await c.put("k", { a: 1, b: undefined });
    return { record: c.get("k"), patch: await failure(() => c.patch("k", { a: undefined })) };
  });
  assert.deepEqual(got.record, { a: 1 });
  assert.match(got.patch.message, /patch\.a is undefined.*remove/);
});

test("a write is undone, and an undo too", async () => {
  const got = await page.evaluate(async () => {
    const c = db.collection("undo");
    await c.put("k", { title: "start", n: hw.counter(1), notes: hw.text("one three") });
    const edits = { title: "edited", n: hw.increment(5), notes: hw.splice(4, 0, "two ") };
    const written = await c.patch("k", edits);
    await c.patch("k", { n: hw.increment(10), notes: hw.splice(0, 0, "later: ") });
    const undone = await c.undo(written);
    const back = c.get("k");
    const twice = await c.undo(written);
    await c.undo(undone);
    const elsewhere = await failure(() => db.collection("other").undo(written));
    const wrong = await failure(() => c.undo({ changes: [["x", "y"]] }));
    return { back, unchanged: twice.unchanged, again: c.get("k"), codes: [elsewhere.code, wrong.code] };
  });
  assert.deepEqual(got, {
    back: { title: "start", n: 11, notes: "later: one three" },
    unchanged: 1,
    again: { title: "edited", n: 16, notes: "later: one two three" },
    codes: ["nothing-to-undo", "bad-argument"],
  });
});

test("a write is undone by who made it alone", async () => {
  const got = await page.evaluate(async () => {
    const notes = async (user) => {
      const peer = await hw.openPeer({ name: "authors", user });
      const db = await peer.openOrCreate("notes");
      return { peer, notes: db.collection("notes") };
    };
    const ada = await notes("ada");
    const written = await ada.notes.put("k", { x: 1 });
    await ada.peer.close();
    const bob = await notes("bob");
    const refused = await failure(() => bob.notes.undo(written));
    const kept = bob.notes.get("k");
    await bob.peer.close();
    return { refused, kept };
  });
  assert.equal(got.refused.code, "not-the-author");
  assert.match(got.refused.message, /the user "ada"/);
  assert.deepEqual(got.kept, { x: 1 });
});

test("scan gives pages in the order of keys", async () => {
  const got = await page.evaluate(async () => {
    const c = db.collection("scan");
    const { changes, ...written } = await c.putMany(["b", "a2", "ä", "a1", "Z"].map((key) => [key, { key }]));
    const keys = (options) => c.scan(options).map(([key, record]) => (record.key === key ? key : `${key}?`));
    return {
      written,
      all: keys(),
      prefix: keys({ prefix: "a" }),
      first: keys({ limit: 2 }),
      second: keys({ after: "a1", limit: 2 }),
      none: keys({ limit: 0 }),
      absent: c.get("nope"),
      bad: (await failure(() => c.scan({ limit: -1 }))).code,
    };
  });
  assert.deepEqual(got, {
    written: { inserted: 5, updated: 0, unchanged: 0, deleted: 0 },
    all: ["Z", "a1", "a2", "b", "ä"],
    prefix: ["a1", "a2"],
    first: ["Z", "a1"],
    second: ["a2", "b"],
    none: [],
    absent: undefined,
    bad: "bad-argument",
  });
});

test("a subscriber is told of every change to its collection until it stops, also if it throws", async () => {
  const got = await page.evaluate(async () => {
    const c = db.collection("watched");
    const told = [];
    const reported = new Promise((resolve) =>
      addEventListener("error", (event) => (event.preventDefault(), resolve(event.message)), { once: true }),
    );
    const stop = c.subscribe((change) => {
      told.push(change);
      if (change.change === "insert") throw new Error("the listener's own");
    });
    await c.put("k", { n: 1 });
    await db.collection("elsewhere").put("k", { n: 1 });
    await c.patch("k", { n: 2 });
    await c.delete("k");
    const message = await reported;
    while (told.length < 3) await new Promise((resolve) => setTimeout(resolve, 5));
    stop();
    await c.put("k", { n: 3 });
    // Whoever subscribed later is told of it, so the first would have been as well.
    await new Promise((resolve) => {
      c.subscribe(resolve);
      c.put("l", {});
    });
    return { told, message };
  });
  assert.match(got.message, /the listener's own/);
  const [insert, update, gone] = got.told;
  assert.equal(got.told.length, 3);
  assert.deepEqual([insert.change, insert.key, insert.before, insert.after], ["insert", "k", undefined, { n: 1 }]);
  assert.deepEqual([update.change, update.before, update.after], ["update", { n: 1 }, { n: 2 }]);
  assert.deepEqual([gone.change, gone.before, gone.after], ["delete", { n: 2 }, undefined]);
  for (const change of got.told) {
    assert.deepEqual([change.collection, change.local], ["watched", true]);
    assert.deepEqual([change.by.origin, change.by.user], ["tests", "ada"]);
    assert.ok(Math.abs(change.by.at - Date.now()) < 600_000);
  }
});

test("declared types fit plain values, and the catalog shows them", async () => {
  const got = await page.evaluate(async () => {
    await db.declare("declared", {
      fields: {
        score: "float",
        body: { type: "text", column: "content" },
        visits: "counter",
        price: { type: "decimal(20,4)" },
        day: "date",
        phone: { column: false },
      },
      partitions: 8,
      delete: "delete-wins",
    });
    await db.collection("declared").put("k", { score: 1, body: "abc", visits: 2, price: "1.50", day: "2024-02-29" });
    await db.collection("declared").patch("k", { body: hw.splice(3, 0, "d"), visits: hw.increment(1) });
    return { info: db.collections().declared, record: db.collection("declared").get("k"), json: db.toJson() };
  });
  assert.deepEqual(got.info, {
    partitions: [8],
    fields: { score: "float", body: "text", visits: "counter", price: "decimal(20,4)", day: "date" },
    policies: {},
    columns: { body: "content", phone: false },
    delete: "delete-wins",
    version: 0,
  });
  assert.deepEqual(got.record, { score: 1, body: "abcd", visits: 3, price: "1.50", day: "2024-02-29" });
  assert.match(got.json, /"score":1\.0/);
});

test("databases go by id and by name", async () => {
  const got = await page.evaluate(async () => {
    const named = await peer.openOrCreate("one");
    await named.collection("c").put("k", { n: 1 });
    const again = await peer.openOrCreate("one");
    const byId = await peer.open(named.id);
    await peer.setName("uno", named.id);
    const info = (await peer.databases()).find((database) => database.id === named.id);
    const memory = await hw.openPeer({ durability: "memory" });
    const volatile = await memory.create();
    await volatile.collection("c").put("k", { n: 2 });
    const record = volatile.collection("c").get("k");
    await memory.close();
    return {
      same: again.id === named.id,
      n: byId.collection("c").get("k").n,
      names: info.names.sort(),
      record,
      closed: (await failure(() => memory.create("late"))).code,
    };
  });
  assert.deepEqual(got, { same: true, n: 1, names: ["one", "uno"], record: { n: 2 }, closed: "closed" });
});
