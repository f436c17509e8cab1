import type { Collection, NewRecord } from "headwater";
import { counter, text } from "headwater";

export const CONDITIONS = ["good", "fair", "poor", "closed"] as const;
export type Condition = (typeof CONDITIONS)[number];

/** A record of the collection `airports`. Other peers write it too, so any field may be missing. */
export interface Airfield {
  iata?: string;
  name?: string;
  city?: string;
  state?: string;
  country?: string;
  latitude?: number | string;
  longitude?: number | string;
  condition?: Condition;
  /** A text, so that two people's notes merge. */
  notes?: string;
  /** A counter, so that everyone's visits add up. */
  visits?: number;
  inspected_at?: Date;
}

export type Airfields = Collection<Airfield>;

/** The record as it was, to put it back after a delete. */
export function whole(airfield: Airfield): NewRecord<Airfield> {
  const record: NewRecord<Airfield> = { ...airfield };
  if (airfield.notes !== undefined) record.notes = text(airfield.notes);
  if (airfield.visits !== undefined) record.visits = counter(airfield.visits);
  return record;
}

export function title(airfield: Airfield): string {
  return airfield.name || airfield.iata || "Unnamed airfield";
}

export function place(airfield: Airfield): string {
  return [airfield.city, airfield.state, airfield.country].filter(Boolean).join(", ");
}
