// Compiled, never run: what the types must accept and refuse.
import { add, counter, defineSchema, discard, increment, openPeer, remove, reset, splice, text } from "headwater";
import type { RecordOf, Value } from "headwater";

interface Note {
  title: string;
  body?: string;
  visits: number;
  seen: Date;
}

const db = await (await openPeer()).create();
const notes = db.collection<Note>("notes");
await notes.put("a", { title: "A", body: text("…"), visits: counter(), seen: new Date() });
await notes.patch("a", { title: "B", body: splice(0, 1, "x"), visits: increment(2) });
await notes.patch("a", { body: remove });
const title: string | undefined = notes.get("a")?.title;
notes.subscribe((change) => {
  const before: Note | undefined = change.before;
});
// @ts-expect-error a number is no title
await notes.put("a", { title: 1, visits: 0, seen: new Date() });
// @ts-expect-error a record to put is whole
await notes.put("a", { title: "A" });
// @ts-expect-error no such field
await notes.patch("a", { tile: "A" });

await db.collection("anything").put("b", { list: [1, "two", text("three"), { four: null }], bytes: new Uint8Array() });
// @ts-expect-error a function has no form as a value
await db.collection("anything").put("b", { call: () => 1 });

// One declaration, for the database and for the compiler.
const airports = defineSchema({
  version: 2,
  fields: {
    visits: "counter",
    best: { type: "int", policy: "max" },
    tags: { policy: "union" },
    phone: { type: "string", policy: "keep-all" },
    name: { type: "string", policy: "custom:longest@1" },
    inspected_at: { type: "timestamp" },
    fee: { type: "decimal(20,4)", column: "landing_fee" },
    opened: "date",
    secret: { column: false },
    anything: { policy: "last-writer" },
  },
  delete: "delete-wins",
});
await db.declare("airports", airports);
type Airport = RecordOf<typeof airports>;
const fields = db.collection("airports", airports);
const airport: Airport = fields.get("a") ?? {};
const best: number | undefined = airport.best;
const tags: Value[] | undefined = airport.tags;
const phone: string[] | undefined = airport.phone;
const inspected: Date | undefined = airport.inspected_at;
const fee: string | number | undefined = airport.fee;
const opened: string | undefined = airport.opened;
const whatever: Value | undefined = airport.anything;
await fields.put("a", { best: 1, name: "A", visits: counter(2) });
await fields.patch("a", { best: reset(3), tags: add("red", 1), phone: ["1"], visits: increment(1) });
await fields.patch("a", { tags: discard("red") });
// @ts-expect-error a string is no int
await fields.patch("a", { best: "3" });
// @ts-expect-error not declared
airport.worst;
// @ts-expect-error no such policy
defineSchema({ fields: { a: { policy: "median" } } });
// @ts-expect-error a version is a number
defineSchema({ fields: { a: { policy: "custom:longest@latest" } } });
// @ts-expect-error a column has a name, or there is none
defineSchema({ fields: { a: { column: true } } });
// @ts-expect-error a decimal says how many digits it has
defineSchema({ fields: { a: "decimal" } });
// @ts-expect-error no such type
await db.declare("airports", { fields: { a: "varchar" } });

await openPeer({ resolvers: { "longest@1": (values) => values.at(-1) ?? null } });
// @ts-expect-error a resolver has a version
await openPeer({ resolvers: { longest: () => null } });

const [conflict] = fields.conflicts({ limit: 1 });
if (conflict?.losers[0]) await fields.settle(conflict, { keep: conflict.losers[0].id });
await fields.settle({ key: "a", field: "name" }, { write: text("B") });
await fields.settle({ key: "a" }, { accept: true });
// @ts-expect-error it is one of the three
await fields.settle({ key: "a" }, { reject: true });
const stop: () => void = fields.subscribeConflicts(({ open }) => open.map(({ winner }) => winner?.by?.at.getTime()));
const who: (string | undefined)[] = fields.provenance("a").map(({ field, by }) => `${field.join(".")} ${by.user}`);
