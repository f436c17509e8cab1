import { byId, make } from "./dom";

let hiding: ReturnType<typeof setTimeout> | undefined;

/** Says something for a while, perhaps with something to do about it. */
export function toast(message: string, action?: { label: string; run: () => void }): void {
  const element = byId("toast");
  element.replaceChildren(make("span", {}, message));
  if (action) {
    const button = make("button", { type: "button", textContent: action.label });
    button.addEventListener("click", () => {
      element.hidden = true;
      action.run();
    });
    element.append(button);
  }
  element.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => (element.hidden = true), 8000);
}

export function failure(error: unknown): void {
  console.error(error);
  toast(error instanceof Error ? error.message : String(error));
}
