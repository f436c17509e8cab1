/** What went wrong, for programs; `message` says it for people. */
export type ErrorCode =
  /** A value has no exact form; the message names where it stands. */
  | "bad-value"
  /** An argument makes no sense. */
  | "bad-argument"
  /** A key is empty or longer than 1,024 bytes. */
  | "bad-key"
  /** A collection's name is empty, too long or has control characters. */
  | "bad-collection"
  /** Not the id of a database. */
  | "bad-id"
  /** Not a ws:// or wss:// address. */
  | "bad-url"
  /** There is no such record to patch or delete. */
  | "not-found"
  /** No database goes by this name here. */
  | "unknown-name"
  /** The name stands for another database. */
  | "name-taken"
  /** A value does not fit the declared type of its field. */
  | "type-mismatch"
  /** The field does not hold what the edit is for, such as an increment of a string. */
  | "wrong-kind"
  /** What is to be settled is not open, or not any more. */
  | "nothing-to-settle"
  /** The write that is to be undone is not of this collection, or not here. */
  | "nothing-to-undo"
  /** Someone else made the write that is to be undone. */
  | "not-the-author"
  /** A splice goes beyond the end. */
  | "out-of-range"
  /** A counter would leave 64 bits. */
  | "counter-overflow"
  /** Nested too deep. */
  | "too-deep"
  /** The record is too large. */
  | "too-large"
  /** The write could not be stored and is not acknowledged. */
  | "not-saved"
  /** The browser's quota is used up. */
  | "storage-full"
  /** Another tab holds the store in another version. */
  | "storage-blocked"
  /** The store is damaged. */
  | "storage-corrupt"
  /** The browser refused to store or read something. */
  | "storage-failed"
  /** The peer is closed. */
  | "closed"
  /** The server does not let this peer in: it wants a token, or another one. */
  | "denied"
  /** Nothing synced within the timeout. */
  | "not-in-sync"
  /** Changes came faster than they were taken. */
  | "missed-changes"
  /** A defect of Headwater's. */
  | "internal";

/** What every function here throws or rejects with. A refused write has changed nothing. */
export interface HeadwaterError extends Error {
  readonly name: "HeadwaterError";
  readonly code: ErrorCode;
}

/** Whether `error` is Headwater's, so that it has a {@link HeadwaterError.code}. */
export function isHeadwaterError(error: unknown): error is HeadwaterError {
  return error instanceof Error && error.name === "HeadwaterError";
}
