import type { Value } from "./values.js";

/**
 * The declared type of a field. A `decimal(20,4)` has at most 20 digits (of at most 38), 4 of them after the point, and is
 * kept as a string such as `"-12.50"`, or as a number that is exactly one; a `date` is a string `"2026-11-22"`.
 */
export type FieldType =
  | "bool"
  | "int"
  | "float"
  | `decimal(${number},${number})`
  | "string"
  | "text"
  | "counter"
  | "date"
  | "timestamp"
  | "bytes"
  | "list"
  | "map";

/**
 * What decides between the values that people gave a field without knowing of each other. `last-writer`, the default, shows
 * the later one, `max` the greatest and `min` the least; `union` is a set to which everyone adds; `keep-all` shows a list
 * of all of them; `custom:NAME@VERSION` shows what a function makes of them that {@link PeerOptions.resolvers} registers.
 * What is not shown stays in {@link Collection.conflicts}.
 */
export type Policy = "last-writer" | "max" | "min" | "union" | "keep-all" | `custom:${string}@${number}`;

/** What becomes of a record that one deletes while another edits it. */
export type DeleteRule = "edit-wins" | "delete-wins";

/**
 * What to declare of a field: its type alone, or any of a type, a policy and its column in the tables that Drill queries: a
 * name other than the field's, or false for none.
 */
export type FieldSchema =
  | FieldType
  | { readonly type?: FieldType; readonly policy?: Policy; readonly column?: string | false };

/** What to declare of a collection. Whatever is left out stays as it is. */
export interface Schema {
  /**
   * The application's number for this schema, from 0 on. {@link Database.collections} tells the greatest that anyone
   * declared, so that an application can see whether it has to declare its own.
   */
  readonly version?: number;
  /**
   * Types and policies of fields. A plain string put into a `text` becomes a text, a plain integer in a `counter` a counter,
   * an integer in a `float` a double; what does not fit is refused.
   */
  readonly fields?: { readonly [name: string]: FieldSchema };
  /** Into how many documents the records are spread, from 1 to 4096; 4 unless declared. */
  readonly partitions?: number;
  /** What becomes of a record that one deletes while another edits it; `edit-wins` unless declared. */
  readonly delete?: DeleteRule;
}

interface TypeOf {
  bool: boolean;
  int: number;
  float: number;
  string: string;
  text: string;
  counter: number;
  date: string;
  timestamp: Date;
  bytes: Uint8Array;
  list: Value[];
  map: { [name: string]: Value };
}

type PlainOf<T> = T extends keyof TypeOf ? TypeOf[T] : T extends FieldType ? string | number : Value;

type Plain<F> = F extends FieldType ? PlainOf<F> : F extends { readonly type: infer T extends FieldType } ? PlainOf<T> : Value;

type FieldOf<F> = F extends { readonly policy: "union" }
  ? Value[]
  : F extends { readonly policy: "keep-all" }
    ? Plain<F>[]
    : Plain<F>;

/**
 * The records of a schema that {@link defineSchema} gave. Every field is optional, since other peers write records too. An
 * `int` is taken to be a number, although one beyond 2^53 is read as a bigint.
 */
export type RecordOf<S extends Schema> = S extends { readonly fields: infer F }
  ? { -readonly [K in keyof F]?: FieldOf<F[K]> }
  : { [name: string]: Value | undefined };

/**
 * A schema whose types are known, so that one declaration serves the database and the compiler:
 *
 * ```ts
 * const airports = defineSchema({ version: 1, fields: { name: "string", best: { type: "int", policy: "max" } } });
 * await db.declare("airports", airports);
 * const collection = db.collection("airports", airports); // of { name?: string, best?: number }
 * ```
 */
export function defineSchema<const S extends Schema>(schema: S): S {
  return schema;
}
