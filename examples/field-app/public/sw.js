// Lets the app itself load without a network. The page tells which files it uses; names of built files change with their
// content, so a stored one is never stale, and the page itself is asked for anew whenever there is a network.
const CACHE = "airfields-1";

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("message", (event) => {
  const store = async () => {
    const cache = await caches.open(CACHE);
    const wanted = new Set(event.data.files);
    for (const request of await cache.keys()) {
      if (!wanted.has(request.url)) await cache.delete(request);
    }
    const missing = [];
    for (const url of wanted) if (!(await cache.match(url))) missing.push(url);
    await cache.addAll(missing);
    event.source.postMessage({ stored: true });
  };
  event.waitUntil(store());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || new URL(request.url).origin !== location.origin) return;
  event.respondWith(request.mode === "navigate" ? page(request) : file(request));
});

async function page(request) {
  const cache = await caches.open(CACHE);
  const home = new URL("/", location.origin).href;
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(home, response.clone());
    return response;
  } catch (error) {
    const stored = await cache.match(home);
    if (stored) return stored;
    throw error;
  }
}

async function file(request) {
  const stored = await caches.match(request, { ignoreVary: true });
  return stored ?? fetch(request);
}
