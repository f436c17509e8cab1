// What must be true once all links are back.
import { isDeepStrictEqual } from "node:util";

/** The records that are not as expected, each with both forms. */
export function differences(expected, found) {
  const different = [];
  for (const collection of new Set([...Object.keys(expected), ...Object.keys(found)])) {
    const [records, others] = [expected[collection] ?? {}, found[collection] ?? {}];
    for (const key of new Set([...Object.keys(records), ...Object.keys(others)])) {
      const [record, other] = [records[key], others[key]];
      if (!isDeepStrictEqual(record, other)) different.push({ collection, key, expected: record, found: other });
    }
  }
  return different;
}

export class Checks {
  failed = 0;

  /** Prints whether something holds. */
  that(what, holds, detail = "") {
    console.log(`  ${holds ? "ok  " : "FAIL"} ${what}${detail ? `: ${detail}` : ""}`);
    if (!holds) this.failed += 1;
  }

  equal(what, found, expected) {
    const same = JSON.stringify(found) === JSON.stringify(expected);
    this.that(what, same, same ? JSON.stringify(found) : `${JSON.stringify(found)}, not ${JSON.stringify(expected)}`);
  }

  oneOf(what, found, written) {
    const stands = written.some((value) => JSON.stringify(value) === JSON.stringify(found));
    this.that(what, stands, `${JSON.stringify(found)} of ${JSON.stringify(written)}`);
  }
}

/** Waits until `done` gives something true, and gives that and the milliseconds that it took. */
export async function until(what, done, limit = 60_000) {
  const started = performance.now();
  for (;;) {
    const value = await done();
    if (value) return { value, ms: Math.round(performance.now() - started) };
    if (performance.now() - started > limit) throw new Error(`not within ${limit / 1000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
