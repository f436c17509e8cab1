// Serves the built app: node serve.mjs [--port N]. Prints its address as JSON.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const FOLDER = fileURLToPath(new URL("dist", import.meta.url));
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".webmanifest": "application/manifest+json",
};

const { values } = parseArgs({ options: { port: { type: "string", default: "0" } } });

await readFile(join(FOLDER, "index.html")).catch(() => {
  console.error("there is no build yet: run `npm run build` here first");
  process.exit(1);
});

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, "http://localhost");
  const path = normalize(pathname.endsWith("/") ? `${pathname}index.html` : pathname);
  const body = await readFile(join(FOLDER, path)).catch(() => undefined);
  response.statusCode = body ? 200 : 404;
  response.setHeader("content-type", body ? (TYPES[extname(path)] ?? "application/octet-stream") : "text/plain");
  response.setHeader("cache-control", pathname.startsWith("/assets/") ? "max-age=31536000, immutable" : "no-cache");
  response.end(body ?? "not found\n");
});
server.listen(Number(values.port), "127.0.0.1", () => {
  console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}/` }));
});
