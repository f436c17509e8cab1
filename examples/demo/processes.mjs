// The processes of the demo: servers, a native peer, the app's static server and a real Drillbit. Each is ended by its id.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import path from "node:path";

const binary = process.env.HEADWATER ?? path.resolve("target/debug/headwater");
const running = new Set();

function start(program, args, options = {}) {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"], ...options });
  running.add(child);
  child.once("exit", () => running.delete(child));
  return child;
}

/** The lines that a process prints, one at a time. */
function lines(child) {
  const reader = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return async () => {
    const { value, done } = await reader.next();
    if (done) throw new Error(`${child.spawnfile} ended without an answer`);
    return value;
  };
}

/** Runs a `headwater` command to its end and gives what it printed. */
export async function headwater(...args) {
  const child = start(binary, args, { env: { ...process.env, HEADWATER_LOG: "error" } });
  let output = "";
  child.stdout.on("data", (chunk) => (output += chunk));
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`headwater ${args.join(" ")} ended with ${code}`);
  return output;
}

/** A server on folders below `folder`. */
export async function serve(folder, listen, ...extra) {
  const args = ["serve", "--listen", listen, "--data", `${folder}/data`, "--lake", `${folder}/lake`, ...extra];
  const child = start(binary, args, { env: { ...process.env, HEADWATER_LOG: "error" } });
  const { listening } = JSON.parse(await lines(child)());
  return {
    port: Number(listening.split(":").pop()),
    data: `${folder}/data`,
    lake: `${folder}/lake`,
    kill: async () => {
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
}

/** A native peer that takes commands. */
export function nativePeer(folder, database) {
  const program = path.join(path.dirname(binary), "native-peer");
  const child = start(program, [folder, database]);
  const next = lines(child);
  return {
    async run(command) {
      child.stdin.write(`${JSON.stringify(command)}\n`);
      const answer = JSON.parse(await next());
      if (answer.error) throw new Error(answer.error);
      return answer.ok;
    },
  };
}

/** The example app on a static server. */
export async function fieldApp() {
  const child = start(process.execPath, [path.resolve("examples/field-app/serve.mjs"), "--port", "0"]);
  return JSON.parse(await lines(child)()).url;
}

/** A real Drillbit over a lake. */
export async function drill(lake) {
  const args = ["drill", "start", "--lake", lake, "--port", "0", "--user-port", "0", "--bit-port", "0", "--json"];
  const child = start(binary, args);
  const started = JSON.parse(await lines(child)());
  const query = async (sql) => {
    const args = ["query", sql, "--url", started.url, "--json"];
    return JSON.parse(await headwater(...args)).rows.map(Object.values);
  };
  return { query };
}

/** Ends everything that was started. */
export async function stopAll() {
  const ends = [...running].map((child) => {
    child.kill("SIGTERM");
    const exited = once(child, "exit");
    const timer = setTimeout(() => child.kill("SIGKILL"), 8000);
    return exited.finally(() => clearTimeout(timer));
  });
  await Promise.allSettled(ends);
}
