// A list of thousands of rows, of which only those in view are in the page.
import type { Airfield } from "./airfield";
import { CONDITIONS, place, title } from "./airfield";
import { ago, byId, make } from "./dom";

const ROW = 68;
const MARGIN = 6;

type Filter = "all" | "todo" | "attention";
const FILTERS: [Filter, string][] = [
  ["all", "All"],
  ["todo", "Not inspected"],
  ["attention", "Needs attention"],
];

interface Row {
  key: string;
  airfield: Airfield;
  /** What a search looks through. */
  haystack: string;
}

export class List {
  readonly #rows = new Map<string, Row>();
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
      byId("filters").append(button);
    }
  }

  /** Takes over all records. */
  load(records: Iterable<[string, Airfield]>): void {
    this.#rows.clear();
    for (const [key, airfield] of records) this.#put(key, airfield);
    this.#loaded = true;
    this.#schedule();
  }

  /** A record is new, different or gone. */
  set(key: string, airfield: Airfield | undefined): void {
    if (airfield) this.#put(key, airfield);
    else this.#rows.delete(key);
    this.#schedule();
  }

  select(key: string | undefined): void {
    this.#selected = key;
    this.#draw();
  }

  #put(key: string, airfield: Airfield): void {
    const haystack = `${airfield.iata ?? ""} ${title(airfield)} ${place(airfield)}`.toLocaleLowerCase();
    this.#rows.set(key, { key, airfield, haystack });
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
    this.#shown = [...this.#rows.values()]
      .filter((row) => this.#passes(row.airfield) && words.every((word) => row.haystack.includes(word)))
      .sort((a, b) => title(a.airfield).localeCompare(title(b.airfield)) || (a.key < b.key ? -1 : 1));
    this.#items.style.height = `${this.#shown.length * ROW}px`;
    const [shown, all] = [this.#shown.length, this.#rows.size].map((n) => n.toLocaleString());
    byId("count").textContent = shown === all ? `${all}` : `${shown} of ${all}`;
    this.#draw();
    this.#explainNothing();
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
    empty.replaceChildren(
      ...(this.#rows.size > 0
        ? [make("h2", {}, "Nothing found"), make("p", {}, "No airfield fits the search and the filter.")]
        : [
            make("h2", {}, "No airfields yet"),
            make(
              "p",
              {},
              "Add the first one: it is stored on this device at once, and on a server as soon as one can be reached.",
            ),
          ]),
    );
  }

  #draw(): void {
    const first = Math.max(0, Math.floor(this.#viewport.scrollTop / ROW) - MARGIN);
    const last = Math.ceil((this.#viewport.scrollTop + this.#viewport.clientHeight) / ROW) + MARGIN;
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset["key"] : undefined;
    this.#items.replaceChildren(
      ...this.#shown.slice(first, last).map((row, index) => this.#item(row, first + index)),
    );
    if (focused !== undefined) this.#button(focused)?.focus({ preventScroll: true });
  }

  #item({ key, airfield }: Row, index: number): HTMLLIElement {
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
        make("span", { className: "name", textContent: title(airfield) }),
        make("span", { className: "place", textContent: place(airfield) }),
      ),
      make(
        "span",
        { className: "facts" },
        make("span", { className: `condition ${known}`, textContent: known === "unknown" ? "" : known }),
        make("span", { className: "seen", textContent: seen || (visits ? `${visits} visits` : "") }),
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
