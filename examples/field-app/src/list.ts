// A list of thousands of rows, of which only those in view are in the page.
import type { Conflict } from "headwater";
import type { Airfield } from "./airfield";
import { CONDITIONS, place, title } from "./airfield";
import { lost } from "./conflicts";
import { ago, byId, make } from "./dom";

const ROW = 68;
const MARGIN = 6;

type Filter = "all" | "todo" | "attention" | "settle";
const FILTERS: [Filter, string][] = [
  ["all", "All"],
  ["todo", "Not inspected"],
  ["attention", "Needs attention"],
  ["settle", "To settle"],
];

interface Row {
  key: string;
  airfield: Airfield;
  /** What a search looks through. */
  haystack: string;
  /** Deleted while someone edited it. */
  deleted: boolean;
}

export class List {
  readonly #rows = new Map<string, Row>();
  /** What is to be settled, also of airfields that are deleted. */
  readonly #open = new Map<string, Conflict[]>();
  readonly #viewport = byId("list");
  readonly #items = this.#viewport.querySelector("ul") as HTMLUListElement;
  readonly #search = byId<HTMLInputElement>("search");
  readonly #choose: (key: string) => void;
  #shown: Row[] = [];
  #filter: Filter = "all";
  #selected: string | undefined;
  #due = false;
  #loaded = false;

  constructor(choose: (key: string) => void) {
    this.#choose = choose;
    this.#search.addEventListener("input", () => this.#restart());
    this.#viewport.addEventListener("scroll", () => this.#draw(), { passive: true });
    this.#viewport.addEventListener("keydown", (event) => this.#move(event));
    new ResizeObserver(() => this.#draw()).observe(this.#viewport);
    for (const [filter, label] of FILTERS) {
      const button = make("button", { type: "button", className: "chip", textContent: label });
      button.setAttribute("aria-pressed", String(filter === "all"));
      button.addEventListener("click", () => {
        this.#filter = filter;
        for (const other of byId("filters").children) other.setAttribute("aria-pressed", String(other === button));
        this.#restart();
      });
      button.dataset["filter"] = filter;
      byId("filters").append(button);
    }
  }

  /** Takes over all records. */
  load(records: Iterable<[string, Airfield]>): void {
    this.#rows.clear();
    for (const [key, airfield] of records) this.#rows.set(key, row(key, airfield));
    this.#loaded = true;
    this.#schedule();
  }

  /** A record is new, different or gone. */
  set(key: string, airfield: Airfield | undefined): void {
    if (airfield) this.#rows.set(key, row(key, airfield));
    else this.#rows.delete(key);
    this.#schedule();
  }

  /** Something is to be settled in a record, or nothing any more. */
  contest(key: string, conflicts: Conflict[]): void {
    if (conflicts.length > 0) this.#open.set(key, conflicts);
    else this.#open.delete(key);
    this.#schedule();
  }

  select(key: string | undefined): void {
    this.#selected = key;
    this.#draw();
  }

  /** Many changes at once are one redraw. */
  #schedule(): void {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      this.#arrange();
    });
  }

  #restart(): void {
    this.#viewport.scrollTop = 0;
    this.#arrange();
  }

  #arrange(): void {
    const words = this.#search.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    const rows = this.#filter === "settle" ? this.#contested() : [...this.#rows.values()];
    this.#shown = rows
      .filter((row) => this.#passes(row.airfield) && words.every((word) => row.haystack.includes(word)))
      .sort((a, b) => title(a.airfield).localeCompare(title(b.airfield)) || (a.key < b.key ? -1 : 1));
    this.#items.style.height = `${this.#shown.length * ROW}px`;
    const [shown, all] = [this.#shown.length, this.#rows.size].map((n) => n.toLocaleString());
    byId("count").textContent = shown === all || this.#filter === "settle" ? `${shown}` : `${shown} of ${all}`;
    this.#offerToSettle();
    this.#draw();
    this.#explainNothing();
  }

  #contested(): Row[] {
    return [...this.#open].flatMap(([key, conflicts]) => {
      const deleted = lost(conflicts);
      return this.#rows.get(key) ?? (deleted ? { ...row(key, deleted), deleted: true } : []);
    });
  }

  /** The filter is there while there is something to settle, or while it is chosen. */
  #offerToSettle(): void {
    const chip = byId("filters").querySelector<HTMLElement>('[data-filter="settle"]');
    if (!chip) return;
    const open = this.#open.size;
    chip.hidden = open === 0 && this.#filter !== "settle";
    chip.textContent = open > 0 ? `To settle · ${open.toLocaleString()}` : "To settle";
  }

  #passes({ inspected_at, condition }: Airfield): boolean {
    if (this.#filter === "todo") return inspected_at === undefined;
    if (this.#filter === "attention") return condition === "poor" || condition === "closed";
    return true;
  }

  #explainNothing(): void {
    const empty = byId("empty");
    empty.hidden = !this.#loaded || this.#shown.length > 0;
    this.#viewport.hidden = !empty.hidden;
    if (empty.hidden) return;
    const [heading, text] = this.#nothing();
    empty.replaceChildren(make("h2", {}, heading), make("p", {}, text));
  }

  #nothing(): [heading: string, text: string] {
    if (this.#filter === "settle" && this.#open.size === 0) return ["All settled", "No two people's edits are at odds."];
    if (this.#rows.size > 0) return ["Nothing found", "No airfield fits the search and the filter."];
    return [
      "No airfields yet",
      "Add the first one: it is stored on this device at once, and on a server as soon as one can be reached.",
    ];
  }

  #draw(): void {
    const first = Math.max(0, Math.floor(this.#viewport.scrollTop / ROW) - MARGIN);
    const last = Math.ceil((this.#viewport.scrollTop + this.#viewport.clientHeight) / ROW) + MARGIN;
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset["key"] : undefined;
    const drawn = [...this.#items.children];
    const items = this.#shown.slice(first, last).map((row, index) => this.#item(row, first + index));
    // What looks the same stays: a click that has begun on it is not lost.
    items.forEach((item, index) => {
      const old = drawn[index];
      if (!old) this.#items.append(item);
      else if (!old.isEqualNode(item)) old.replaceWith(item);
    });
    for (const old of drawn.slice(items.length)) old.remove();
    if (focused !== undefined) this.#button(focused)?.focus({ preventScroll: true });
  }

  #item({ key, airfield, deleted }: Row, index: number): HTMLLIElement {
    const { condition, inspected_at, visits } = airfield;
    const known = condition && CONDITIONS.includes(condition) ? condition : "unknown";
    const seen = inspected_at ? ago(inspected_at) : "";
    const button = make(
      "button",
      { type: "button", className: "row" },
      make("span", { className: "code", textContent: airfield.iata || "–" }),
      make(
        "span",
        { className: "what" },
        make("span", { className: deleted ? "name deleted" : "name", textContent: title(airfield) }),
        make("span", { className: "place", textContent: place(airfield) }),
      ),
      make(
        "span",
        { className: "facts" },
        make("span", { className: `condition ${known}`, textContent: known === "unknown" ? "" : known }),
        this.#open.has(key)
          ? make("span", { className: "contested", textContent: deleted ? "Deleted" : "To settle" })
          : make("span", { className: "seen", textContent: seen || (visits ? `${visits} visits` : "") }),
      ),
    );
    button.dataset["key"] = key;
    if (key === this.#selected) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => this.#choose(key));
    const item = make("li", {}, button);
    item.style.top = `${index * ROW}px`;
    item.setAttribute("aria-setsize", String(this.#shown.length));
    item.setAttribute("aria-posinset", String(index + 1));
    return item;
  }

  #move(event: KeyboardEvent): void {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    const from = this.#shown.findIndex((row) => row.key === (event.target as HTMLElement).dataset["key"]);
    const next = this.#shown[from + step];
    if (step === 0 || from < 0 || !next) return;
    event.preventDefault();
    const top = (from + step) * ROW;
    const { scrollTop, clientHeight } = this.#viewport;
    if (top < scrollTop) this.#viewport.scrollTop = top;
    if (top + ROW > scrollTop + clientHeight) this.#viewport.scrollTop = top + ROW - clientHeight;
    this.#draw();
    this.#button(next.key)?.focus({ preventScroll: true });
  }

  #button(key: string): HTMLElement | undefined {
    return [...this.#items.querySelectorAll<HTMLElement>(".row")].find((row) => row.dataset["key"] === key);
  }
}

function row(key: string, airfield: Airfield): Row {
  const haystack = `${airfield.iata ?? ""} ${title(airfield)} ${place(airfield)}`.toLocaleLowerCase();
  return { key, airfield, haystack, deleted: false };
}
