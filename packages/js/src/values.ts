const kind: unique symbol = Symbol.for("headwater") as never;

/**
 * What a field can hold. Integers that a number holds exactly (within ±(2^53 - 1)) are stored as integers, as are bigints
 * of up to 64 bits; all other numbers as doubles. An integer that a number cannot hold exactly is read as a bigint.
 * Whatever is not listed, such as instances of classes or `undefined` in an array, is refused with an error that names
 * its place.
 */
export type Value = null | boolean | number | bigint | string | Date | Uint8Array | Value[] | { [name: string]: Value };

/** A record of any fields. A field that is `undefined` counts as absent. */
export type Fields = { [name: string]: Value | undefined };

/** A string that people edit together; see {@link text}. */
export interface Text {
  readonly [kind]: "text";
  readonly text: string;
}

/** A number that people add to; see {@link counter}. */
export interface Counter {
  readonly [kind]: "counter";
  readonly value: number | bigint;
}

/** What to do with a field, other than to set it. */
export interface Edit {
  readonly [kind]: "increment" | "splice" | "spliceList" | "remove" | "merge" | "reset" | "add" | "discard";
}

/** Any value to write: those that can be read, and new texts and counters. */
export type AnyWritable =
  | Exclude<Value, Value[] | { [name: string]: Value }>
  | Text
  | Counter
  | AnyWritable[]
  | { [name: string]: AnyWritable | undefined };

/** What can be written where `V` is read: also a new text for a string, and a new counter for a number. */
export type Writable<V> = [Value] extends [V] ? AnyWritable | Extract<V, undefined> : WritableOf<V>;

type WritableOf<V> = V extends string
  ? V | Text
  : V extends number | bigint
    ? V | Counter
    : V extends Date | Uint8Array
      ? V
      : V extends object
        ? { [K in keyof V]: Writable<V[K]> }
        : V;

/** A whole record to put. */
export type NewRecord<T> = { [K in keyof T]: Writable<T[K]> };

/** Edits by field: a plain value sets the field, the others are {@link increment}, {@link splice}, {@link merge} and so on. */
export type Patch<T> = { [K in keyof T]?: Writable<Exclude<T[K], undefined>> | Edit };

function wrap<W>(name: string, properties: object): W {
  return Object.freeze({ [kind]: name, ...properties }) as W;
}

/**
 * A string that merges character by character when several people edit it. A field stays a text: a plain string that is
 * put or set there later is turned into the edits that make the text equal to it.
 */
export function text(value: string): Text {
  return wrap("text", { text: value });
}

/**
 * A number to which everyone's increments add up. A field stays a counter: a plain integer that is put or set there
 * later becomes an increment by the difference.
 */
export function counter(value: number | bigint = 0): Counter {
  return wrap("counter", { value });
}

/** Adds to a counter, which starts at 0 where there is none. */
export function increment(by: number | bigint = 1): Edit {
  return wrap("increment", { by });
}

/**
 * Replaces `remove` characters of a text from character `at` on. Characters are Unicode code points, as `[...string]`
 * gives them, not UTF-16 units.
 */
export function splice(at: number, remove: number, insert = ""): Edit {
  return wrap("splice", { at, delete: remove, insert });
}

/** Replaces `remove` elements of a list from element `at` on. */
export function spliceList(at: number, remove: number, insert: AnyWritable[] = []): Edit {
  return wrap("spliceList", { at, delete: remove, insert });
}

/**
 * Sets the field whatever its policy says of the value: how the value of a `max` or `min` field is taken back. What someone
 * wrote elsewhere meanwhile still counts.
 */
export function reset(value: AnyWritable): Edit {
  return wrap("reset", { value });
}

/**
 * Adds elements to a set, which starts empty where there is none. One that is there already is added anew, so that it
 * outlives a removal elsewhere.
 */
export function add(...values: AnyWritable[]): Edit {
  return wrap("add", { values });
}

/** Removes elements from a set. */
export function discard(...values: AnyWritable[]): Edit {
  return wrap("discard", { values });
}

/** Edits fields of a nested map, which starts empty where there is none. */
export function merge(fields: Patch<Fields>): Edit {
  return wrap("merge", { fields });
}

/** Removes the field. */
export const remove: Edit = wrap("remove", {});
