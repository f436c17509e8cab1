import type { Collection, NewRecord, RecordOf } from "headwater";
import { counter, defineSchema, text } from "headwater";

export const CONDITIONS = ["good", "fair", "poor", "closed"] as const;
export type Condition = (typeof CONDITIONS)[number];

/** What this app declares of the collection `airports`. */
export const SCHEMA = defineSchema({
  version: 1,
  fields: {
    iata: "string",
    name: "string",
    city: "string",
    state: "string",
    country: "string",
    latitude: "float",
    longitude: "float",
    condition: "string",
    // Two people's notes merge, and everyone's visits add up.
    notes: "text",
    visits: "counter",
    // Of two inspections the later one is the last, whoever syncs first.
    inspected_at: { type: "timestamp", policy: "max" },
  },
  // An inspection is worth more than a tidy list.
  delete: "edit-wins",
});

/** A record of the collection `airports`. Other peers write it too, so any field may be missing. */
export interface Airfield extends Omit<RecordOf<typeof SCHEMA>, "condition" | "latitude" | "longitude"> {
  condition?: Condition;
  /** An import may have left these as text. */
  latitude?: number | string;
  longitude?: number | string;
}

export type Airfields = Collection<Airfield>;

/** The record as it was, to put it back after a delete. */
export function whole(airfield: Airfield): NewRecord<Airfield> {
  const record: NewRecord<Airfield> = { ...airfield };
  if (airfield.notes !== undefined) record.notes = text(airfield.notes);
  if (airfield.visits !== undefined) record.visits = counter(airfield.visits);
  for (const name of ["latitude", "longitude"] as const) {
    const value = airfield[name];
    if (typeof value === "string" && value.trim() !== "" && Number.isFinite(Number(value))) record[name] = Number(value);
  }
  return record;
}

export function title(airfield: Airfield): string {
  return airfield.name || airfield.iata || "Unnamed airfield";
}

export function place(airfield: Airfield): string {
  return [airfield.city, airfield.state, airfield.country].filter(Boolean).join(", ");
}
