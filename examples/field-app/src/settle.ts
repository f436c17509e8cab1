// The sides of a conflict next to each other, each with a click to keep it.
import type { Author, Conflict, Settlement, Value } from "headwater";
import { isHeadwaterError } from "headwater";
import type { Airfield, Airfields } from "./airfield";
import { place, title } from "./airfield";
import { capital, fieldName, when, who, words } from "./conflicts";
import { make } from "./dom";

interface Side {
  /** What was written: short, or a list of names and values. */
  what: string | [name: string, value: string][];
  /** Whether these are words of this app's, such as that it was deleted. */
  said?: boolean;
  by: Author | undefined;
  button: string;
  how: Settlement;
}

export class Settle {
  readonly element = make("section", { className: "settle" });
  readonly #airfields: Airfields;
  readonly #settled: (writing: Promise<unknown>) => void;
  /** What the cards were made of, to leave them alone while it stays. */
  #made = "";

  constructor(airfields: Airfields, settled: (writing: Promise<unknown>) => void) {
    this.#airfields = airfields;
    this.#settled = settled;
    this.element.setAttribute("aria-label", "To settle");
  }

  show(conflicts: Conflict[]): void {
    const claims = ({ winner, losers }: Conflict) => [winner, ...losers].map((claim) => [claim?.id, claim?.by?.change]);
    const made = JSON.stringify(conflicts.map((conflict) => [conflict.field, conflict.resolved, claims(conflict)]));
    if (made === this.#made) return;
    this.#made = made;
    this.element.hidden = conflicts.length === 0;
    this.element.replaceChildren(
      ...conflicts.map((conflict) => this.#card(conflict)),
      make("p", { className: "claims", textContent: "Names and times are what each device claims." }),
    );
  }

  #card(conflict: Conflict): HTMLElement {
    const [heading, explanation] = headline(conflict);
    const card = make(
      "article",
      {},
      make("h3", {}, heading),
      make("p", {}, explanation),
      make("div", { className: "sides" }, ...sides(conflict).map((side, index) => this.#side(conflict, side, index === 0))),
    );
    card.dataset["field"] = conflict.field.join(".");
    return card;
  }

  #side(conflict: Conflict, { what, said, by, button, how }: Side, shown: boolean): HTMLElement {
    const keep = make("button", { type: "button", className: "quiet", textContent: button });
    keep.addEventListener("click", () => this.#settled(this.#write(conflict, how)));
    const value =
      typeof what === "string"
        ? make("p", { className: said ? "value said" : "value" }, what)
        : make("dl", {}, ...what.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
    return make(
      "div",
      { className: "side" },
      make("span", { className: "now", textContent: shown ? "Shown now" : "Not shown" }),
      value,
      ...(by ? [make("p", { className: "by" }, make("strong", {}, who(by)), when(by.at))] : []),
      keep,
    );
  }

  /** Whoever comes late has nothing left to do, which is no failure. */
  async #write(conflict: Conflict, how: Settlement): Promise<void> {
    try {
      await this.#airfields.settle(conflict, how);
    } catch (error) {
      if (!isHeadwaterError(error) || error.code !== "nothing-to-settle") throw error;
    }
  }
}

function headline(conflict: Conflict): [heading: string, explanation: string] {
  const { kind, winner, losers, resolved } = conflict;
  const loser = who(losers.at(-1)?.by);
  if (kind === "delete-lost") {
    return ["Deleted and edited", `${loser} deleted this airfield while someone else edited it. It is still here.`];
  }
  if (kind === "edit-lost") {
    return ["Edited and deleted", `${who(winner?.by)} deleted this airfield while ${loser} edited it. It is gone.`];
  }
  const people = new Set([...losers, ...(winner ? [winner] : [])].map((claim) => who(claim.by)));
  const met = people.size > 1 ? [...people].join(" and ") : "Two devices";
  const rule = resolved ? "" : " This device lacks the rule that decides, so the last one is shown.";
  return [fieldName(conflict), `${met} wrote this without knowing of each other.${rule}`];
}

/** What is shown comes first. */
function sides({ kind, field, shown, winner, losers }: Conflict): Side[] {
  const others = losers.toReversed();
  if (kind === "delete-lost") {
    const now: Side = { what: "Kept, with the edits", said: true, by: undefined, button: "Keep the airfield", how: { accept: true } };
    const deletes = others.slice(0, 1).map(({ id, by }): Side => {
      return { what: "Deleted", said: true, by, button: "Delete it", how: { keep: id } };
    });
    return [now, ...deletes];
  }
  if (kind === "edit-lost") {
    const now: Side = { what: "Deleted", said: true, by: winner?.by, button: "Leave it deleted", how: { accept: true } };
    const edits = others.map(({ id, value, by }): Side => {
      return { what: summary(value as Airfield), by, button: "Bring it back", how: { keep: id } };
    });
    return [now, ...edits];
  }
  // Conditions read as everywhere else in the app.
  const shownAs = (value: Value | undefined) => (field[0] === "condition" ? capital(words(value)) : words(value));
  const now: Side = { what: shownAs(shown), by: winner?.by, button: "Keep this", how: { accept: true } };
  return [now, ...others.map(({ id, value, by }): Side => ({ what: shownAs(value), by, button: "Keep this", how: { keep: id } }))];
}

function summary(airfield: Airfield): [name: string, value: string][] {
  const { condition, visits, inspected_at, notes } = airfield;
  const all: [string, string | undefined][] = [
    ["Name", title(airfield)],
    ["Place", place(airfield)],
    ["Runway", condition && capital(condition)],
    ["Visits", visits?.toString()],
    ["Inspected", inspected_at && when(inspected_at)],
    ["Notes", notes],
  ];
  return all.filter((pair): pair is [string, string] => Boolean(pair[1]));
}
