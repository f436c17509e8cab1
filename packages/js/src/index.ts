/**
 * Local-first records in the browser: edited offline, merged without a coordinator, never lost.
 *
 * ```js
 * const peer = await openPeer({ name: "notes" });
 * const db = await peer.openOrCreate("notebook");
 * await db.collection("notes").put("milk", { title: "Buy milk", done: false });
 * db.connect("wss://example.org");
 * ```
 *
 * A write resolves once it is stored in the browser. Whatever servers can be reached get it in the background, and
 * {@link Database.syncState} tells how many edits no server has yet.
 *
 * @module
 */
export { init } from "./init.js";
export type { WasmSource } from "./init.js";
export { openPeer, Peer } from "./peer.js";
export type { DatabaseInfo, Durability, PeerOptions, Resolver } from "./peer.js";
export { Database, Link } from "./database.js";
export type { CollectionInfo, ConnectOptions, LinkState, LinkStatus, SyncState } from "./database.js";
export { defineSchema } from "./schema.js";
export type { DeleteRule, FieldSchema, FieldType, Policy, RecordOf, Schema } from "./schema.js";
export { Collection } from "./collection.js";
export type { Change, ScanOptions, SubscribeOptions, Written } from "./collection.js";
export type { Author, Claim, Conflict, ConflictChange, ConflictPlace, FieldAuthor, Settlement } from "./conflict.js";
export { add, counter, discard, increment, merge, remove, reset, splice, spliceList, text } from "./values.js";
export type { AnyWritable, Counter, Edit, Fields, NewRecord, Patch, Text, Value, Writable } from "./values.js";
export { isHeadwaterError } from "./error.js";
export type { ErrorCode, HeadwaterError } from "./error.js";
