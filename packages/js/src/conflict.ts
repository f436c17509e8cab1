import type { AnyWritable, Value } from "./values.js";

/** Who made a change, as its writer claims. */
export interface Author {
  /** The hash of the change. */
  change: string;
  /** The session of a replica. */
  actor: string;
  /** Which application or job. */
  origin: string | undefined;
  /** Which person. */
  user: string | undefined;
  /** The writer's clock. */
  at: Date;
}

/** One write in a conflict. */
export interface Claim {
  /** Which write; the same on every peer. */
  id: string;
  /** What was written; for an edit of a record that others deleted the whole record, for a delete `undefined`. */
  value: Value | undefined;
  /** Who wrote it. */
  by: Author | undefined;
}

/** Something that was written and is not shown. It is kept until someone settles it, or writes the field anew. */
export interface Conflict {
  collection: string;
  key: string;
  /** The path of the field, from the record inwards; empty if it is about the record as a whole. */
  field: string[];
  /**
   * What met: `values` of one field, an edit that a delete won over (`edit-lost`), or a delete that an edit won over
   * (`delete-lost`).
   */
  kind: "values" | "edit-lost" | "delete-lost";
  /** What decided: a {@link Policy} or a {@link DeleteRule}. */
  policy: string;
  /** What is shown: the field's value, or the record; `undefined` if the record is deleted. */
  shown: Value | undefined;
  /** The write that is shown; `undefined` if it is made of several. */
  winner: Claim | undefined;
  /** The writes that are not, the one that would win next last. */
  losers: Claim[];
  /** Whether the policy could be carried out here; `false` if its function is missing or fails. */
  resolved: boolean;
}

/** What lost in one record, after a change. */
export interface ConflictChange {
  collection: string;
  key: string;
  /** All that is open now; empty if everything is settled. */
  open: Conflict[];
}

/** Which conflict to settle: one as it was listed, or a record's key and the field, which is left out for the record itself. */
export interface ConflictPlace {
  readonly key: string;
  readonly field?: string | readonly string[];
}

/** How to settle a conflict: what is shown stays, one of the {@link Claim}s is shown, by its id, or something else is written. */
export type Settlement = { accept: true } | { keep: string } | { write: AnyWritable };

/** Who wrote one field. */
export interface FieldAuthor {
  /** The path of the field, from the record inwards. */
  field: string[];
  by: Author;
}
