// What people wrote without knowing of each other, and what of it is not shown: by airfield, until someone settles it.
import type { Author, Conflict, Value } from "headwater";
import type { Airfield, Airfields } from "./airfield";

const LABELS: { [field: string]: string } = {
  iata: "Code",
  condition: "Runway condition",
  inspected_at: "Last inspection",
};

export class Conflicts {
  readonly #airfields: Airfields;
  readonly #open = new Map<string, Conflict[]>();
  readonly #changed: (key: string) => void;

  constructor(airfields: Airfields, changed: (key: string) => void) {
    this.#airfields = airfields;
    this.#changed = changed;
    airfields.subscribeConflicts(({ key, open }) => this.#set(key, open), { onMissed: () => this.load() });
  }

  /** Reads all of them. */
  load(): void {
    const all = new Map([...this.#open.keys()].map((key): [string, Conflict[]] => [key, []]));
    for (const conflict of this.#airfields.conflicts()) {
      all.set(conflict.key, [...(all.get(conflict.key) ?? []), conflict]);
    }
    for (const [key, open] of all) this.#set(key, open);
  }

  of(key: string): Conflict[] {
    return this.#open.get(key) ?? [];
  }

  #set(key: string, open: Conflict[]): void {
    const wanted = open.filter(needsSomeone);
    if (wanted.length > 0) this.#open.set(key, wanted);
    else if (!this.#open.delete(key)) return;
    this.#changed(key);
  }
}

/** Whether a person has to look at it. Of two inspections the later one is the last: that decides itself. */
function needsSomeone({ policy }: Conflict): boolean {
  return policy !== "max";
}

/** The airfield that is deleted although someone edited it. */
export function lost(conflicts: Conflict[]): Airfield | undefined {
  const conflict = conflicts.find(({ kind }) => kind === "edit-lost");
  return conflict?.losers.at(-1)?.value as Airfield | undefined;
}

export function fieldName({ field }: Conflict): string {
  const [name = "", ...inner] = field;
  const label = LABELS[name] ?? capital(name).replaceAll("_", " ");
  return [label, ...inner].join(" › ");
}

export function capital(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}

/** The person who wrote it, as far as they say. */
export function who(by: Author | undefined): string {
  return by?.user || "Someone";
}

const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export function when(at: Date): string {
  return moment.format(at);
}

/** A value in words. */
export function words(value: Value | undefined): string {
  if (value === undefined || value === null || value === "") return "Nothing";
  if (value instanceof Date) return when(value);
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (Array.isArray(value)) return value.map(words).join(", ");
  if (typeof value === "object") {
    return Object.entries(value).map(([name, inner]) => `${name}: ${words(inner)}`).join(", ");
  }
  return String(value);
}
