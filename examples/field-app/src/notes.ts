// A text area on a text that others edit at the same time.
import { splice, text } from "headwater";
import type { Airfields } from "./airfield";

interface Difference {
  at: number;
  removed: number;
  inserted: string;
}

/** What turns one string into the other, in Unicode characters, as the engine counts them. */
export function difference(from: string, to: string): Difference {
  const [a, b] = [[...from], [...to]];
  let at = 0;
  while (at < a.length && at < b.length && a[at] === b[at]) at++;
  let end = 0;
  while (end < a.length - at && end < b.length - at && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  return { at, removed: a.length - at - end, inserted: b.slice(at, b.length - end).join("") };
}

export class Notes {
  readonly element: HTMLTextAreaElement;
  readonly #airfields: Airfields;
  readonly #key: string;
  readonly #saved: (saving: Promise<unknown>) => void;
  /** What the text area showed after the latest edit or update. */
  #shown: string;
  #writing = 0;

  constructor(airfields: Airfields, key: string, saved: (saving: Promise<unknown>) => void) {
    this.#airfields = airfields;
    this.#key = key;
    this.#saved = saved;
    this.#shown = this.#stored() ?? "";
    this.element = document.createElement("textarea");
    this.element.rows = 5;
    this.element.value = this.#shown;
    this.element.placeholder = "What the next visitor should know";
    this.element.addEventListener("input", () => this.#write());
  }

  /** Shows what is stored, unless an edit is on its way there. */
  refresh(): void {
    const stored = this.#stored() ?? "";
    if (this.#writing > 0 || stored === this.element.value) return;
    const { at, removed, inserted } = difference(this.element.value, stored);
    const from = [...this.element.value].slice(0, at).join("").length;
    const shift = inserted.length - removed;
    const move = (position: number) => (position > from ? Math.max(from, position + shift) : position);
    const [start, end] = [move(this.element.selectionStart), move(this.element.selectionEnd)];
    this.element.value = stored;
    this.#shown = stored;
    if (document.activeElement === this.element) this.element.setSelectionRange(start, end);
  }

  #stored(): string | undefined {
    return this.#airfields.get(this.#key)?.notes;
  }

  #write(): void {
    const { at, removed, inserted } = difference(this.#shown, this.element.value);
    this.#shown = this.element.value;
    const stored = this.#stored();
    const notes = stored === undefined ? text(this.element.value) : splice(at, removed, inserted);
    this.#writing++;
    const saving = this.#airfields.patch(this.#key, { notes }).finally(() => {
      this.#writing--;
      this.refresh();
    });
    this.#saved(saving);
  }
}
