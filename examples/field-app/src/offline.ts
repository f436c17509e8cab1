/** Stores the app itself in the browser, so that it opens without a network. */
export async function storeApp(): Promise<void> {
  if (!import.meta.env.PROD || !("serviceWorker" in navigator)) return;
  await navigator.serviceWorker.register("/sw.js");
  const { active } = await navigator.serviceWorker.ready;
  const loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
  const files = [new URL("/", location.href).href, new URL("/icon.svg", location.href).href, ...loaded];
  const own = files.filter((url) => new URL(url).origin === location.origin && !url.includes("#"));
  const stored = new Promise<void>((resolve) =>
    navigator.serviceWorker.addEventListener("message", () => resolve(), { once: true }),
  );
  active?.postMessage({ files: [...new Set(own)] });
  await stored;
}
