// The form of one airfield. Each edit is stored as it is made; there is nothing to save.
import { increment, remove } from "headwater";
import type { Patch } from "headwater";
import type { Airfield, Airfields } from "./airfield";
import { CONDITIONS, place, title } from "./airfield";
import type { Conflicts } from "./conflicts";
import { capital, lost } from "./conflicts";
import { ago, byId, make } from "./dom";
import { Notes } from "./notes";
import { Settle } from "./settle";

type Plain = "iata" | "name" | "city" | "state" | "country" | "latitude" | "longitude";

const FIELDS: [Plain, string, string][] = [
  ["name", "Name", "full"],
  ["iata", "Code", ""],
  ["city", "City", ""],
  ["state", "State", ""],
  ["country", "Country", ""],
  ["latitude", "Latitude", ""],
  ["longitude", "Longitude", ""],
];

export interface DetailActions {
  close(): void;
  remove(key: string, airfield: Airfield): void;
  failed(error: unknown): void;
}

export class Detail {
  readonly #airfields: Airfields;
  readonly #conflicts: Conflicts;
  readonly #actions: DetailActions;
  readonly #section = byId("detail");
  #key: string | undefined;
  /** Shows what is stored; set while an airfield is open. */
  #refresh = () => {};

  constructor(airfields: Airfields, conflicts: Conflicts, actions: DetailActions) {
    this.#airfields = airfields;
    this.#conflicts = conflicts;
    this.#actions = actions;
    this.#section.addEventListener("keydown", (event) => {
      if (event.key === "Escape") actions.close();
    });
  }

  get key(): string | undefined {
    return this.#key;
  }

  /** The record, or what is to be settled in it, may have changed, here or elsewhere. */
  changed(key: string): void {
    if (key === this.#key) this.#refresh();
  }

  close(): void {
    this.#key = undefined;
    this.#section.hidden = true;
    this.#section.replaceChildren();
  }

  open(key: string, focus = false): void {
    this.#key = key;
    const heading = make("h2", { tabIndex: -1 });
    const where = make("p", { className: "where" });
    const status = make("p", { className: "status" });
    status.setAttribute("role", "status");
    const saved = (saving: Promise<unknown>) => {
      status.textContent = "Saving…";
      saving.then(
        () => (status.textContent = "Saved on this device"),
        (error: unknown) => this.#actions.failed(error),
      );
    };
    const back = make("button", { type: "button", className: "quiet back", textContent: "‹ Back" });
    back.addEventListener("click", () => this.#actions.close());
    const settle = new Settle(this.#airfields, (writing) => {
      saved(writing);
      // The button that had the focus goes away.
      heading.focus({ preventScroll: true });
    });
    const form = this.#form(key, saved);
    this.#refresh = () => {
      const airfield = this.#airfields.get(key);
      const open = this.#conflicts.of(key);
      // What was deleted while someone edited it can be brought back, and no more.
      const named = airfield ?? lost(open);
      if (!named) return this.#actions.close();
      heading.textContent = title(named);
      where.textContent = place(named);
      settle.show(open);
      form.element.hidden = !airfield;
      if (airfield) form.show(airfield);
    };
    this.#section.replaceChildren(
      make("div", { className: "head" }, back, make("div", {}, heading, where), status),
      settle.element,
      form.element,
    );
    this.#section.hidden = false;
    this.#section.scrollTop = 0;
    this.#refresh();
    if (focus) form.element.querySelector<HTMLInputElement>(".grid input")?.select();
    else heading.focus({ preventScroll: true });
  }

  #form(key: string, saved: (saving: Promise<unknown>) => void): Part {
    const patch = (edits: Patch<Airfield>) => saved(this.#airfields.patch(key, edits));
    const visits = this.#visits(patch);
    const condition = this.#condition(patch);
    const fields = FIELDS.map((field) => this.#field(field, patch));
    const notes = new Notes(this.#airfields, key, saved);
    const erase = make("button", { type: "button", className: "quiet danger", textContent: "Delete airfield" });
    erase.addEventListener("click", () => {
      const airfield = this.#airfields.get(key);
      if (airfield) this.#actions.remove(key, airfield);
    });
    return {
      element: make(
        "div",
        {},
        make(
          "div",
          { className: "inspection" },
          visits.element,
          condition.element,
          make("label", { className: "full" }, make("span", {}, "Notes"), notes.element),
        ),
        make("h3", {}, "About the airfield"),
        make("div", { className: "grid" }, ...fields.map((field) => field.element)),
        erase,
      ),
      show(airfield) {
        for (const part of [visits, condition, ...fields]) part.show(airfield);
        notes.refresh();
      },
    };
  }

  #visits(patch: (edits: Patch<Airfield>) => void): Part {
    const count = make("strong");
    const last = make("span", { className: "last" });
    const visit = make("button", { type: "button", className: "primary", textContent: "Log a visit" });
    visit.addEventListener("click", () => patch({ visits: increment(1), inspected_at: new Date() }));
    return {
      element: make("div", { className: "visits" }, make("p", {}, count, last), visit),
      show({ visits = 0, inspected_at }) {
        count.textContent = `${visits} ${visits === 1 ? "visit" : "visits"}`;
        last.textContent = inspected_at ? `Last inspected ${ago(inspected_at)}` : "Not inspected yet";
      },
    };
  }

  #condition(patch: (edits: Patch<Airfield>) => void): Part {
    const select = make("select", {}, make("option", { value: "", textContent: "Not known" }));
    for (const condition of CONDITIONS) {
      select.append(make("option", { value: condition, textContent: capital(condition) }));
    }
    select.addEventListener("change", () => {
      const condition = CONDITIONS.find((known) => known === select.value);
      patch({ condition: condition ?? remove });
    });
    return {
      element: make("label", { className: "full" }, make("span", {}, "Runway condition"), select),
      show: ({ condition }) => (select.value = condition ?? ""),
    };
  }

  #field([name, label, className]: [Plain, string, string], patch: (edits: Patch<Airfield>) => void): Part {
    const coordinate = name === "latitude" || name === "longitude";
    const input = make("input", { type: "text", autocomplete: "off", spellcheck: false });
    if (coordinate) input.inputMode = "decimal";
    input.addEventListener("change", () => {
      const typed = input.value.trim();
      const value = coordinate && typed !== "" ? Number(typed) : typed;
      const fits = typeof value === "string" || Number.isFinite(value);
      input.setCustomValidity(fits ? "" : "A number is needed here, such as 47.45");
      if (!input.reportValidity()) return;
      patch({ [name]: value === "" ? remove : value });
    });
    return {
      element: make("label", { className }, make("span", {}, label), input),
      show(airfield) {
        // What someone is typing is theirs until they leave the field.
        if (document.activeElement !== input) input.value = String(airfield[name] ?? "");
      },
    };
  }
}

interface Part {
  element: HTMLElement;
  show(airfield: Airfield): void;
}
