// Compiled, never run: what the types must accept and refuse.
import { counter, increment, openPeer, remove, splice, text } from "headwater";

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
