// The form of one airfield. Each edit is stored as it is made; there is nothing to save.
import { increment, remove } from "headwater";
import type { Patch } from "headwater";
import type { Airfield, Airfields } from "./airfield";
import { CONDITIONS, place, title } from "./airfield";
import { ago, byId, make } from "./dom";
import { Notes } from "./notes";

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
  readonly #actions: DetailActions;
  readonly #section = byId("detail");
  #key: string | undefined;
  /** Shows what is stored; set while an airfield is open. */
  #refresh = () => {};

  constructor(airfields: Airfields, actions: DetailActions) {
    this.#airfields = airfields;
    this.#actions = actions;
    this.#section.addEventListener("keydown", (event) => {
      if (event.key === "Escape") actions.close();
    });
  }

  get key(): string | undefined {
    return this.#key;
  }

  /** The record may have changed, here or elsewhere. */
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
    const patch = (edits: Patch<Airfield>) => saved(this.#airfields.patch(key, edits));
    const back = make("button", { type: "button", className: "quiet back", textContent: "‹ Back" });
    back.addEventListener("click", () => this.#actions.close());
    const erase = make("button", { type: "button", className: "quiet danger", textContent: "Delete airfield" });
    erase.addEventListener("click", () => {
      const airfield = this.#airfields.get(key);
      if (airfield) this.#actions.remove(key, airfield);
    });
    const notes = new Notes(this.#airfields, key, saved);
    const parts = [this.#visits(patch), this.#condition(patch), ...FIELDS.map((field) => this.#field(field, patch))];
    const [visits, condition, ...fields] = parts as [Part, Part, ...Part[]];
    this.#refresh = () => {
      const airfield = this.#airfields.get(key);
      if (!airfield) return this.#actions.close();
      heading.textContent = title(airfield);
      where.textContent = place(airfield);
      for (const part of parts) part.show(airfield);
      notes.refresh();
    };
    this.#section.replaceChildren(
      make("div", { className: "head" }, back, make("div", {}, heading, where), status),
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
    );
    this.#section.hidden = false;
    this.#section.scrollTop = 0;
    this.#refresh();
    if (focus) fields[0]?.element.querySelector("input")?.select();
    else heading.focus({ preventScroll: true });
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
      const label = condition.charAt(0).toUpperCase() + condition.slice(1);
      select.append(make("option", { value: condition, textContent: label }));
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
