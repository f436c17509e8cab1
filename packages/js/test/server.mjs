// A real server: the `headwater` command.
import { spawn } from "node:child_process";
import { access, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const COMMAND = process.env.HEADWATER ?? fileURLToPath(new URL("../../../target/debug/headwater", import.meta.url));

async function freePort() {
  const probe = createServer();
  await new Promise((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** A server on a folder of its own, not yet started. */
export async function prepareServer() {
  await access(COMMAND).catch(() => {
    throw new Error(`${COMMAND} is missing: \`cargo build --bin headwater\`, or set HEADWATER to its path`);
  });
  const folder = await mkdtemp(join(tmpdir(), "headwater-server-"));
  const port = await freePort();
  let child;
  let exited;
  return {
    url: `ws://127.0.0.1:${port}`,
    lake: join(folder, "lake"),
    /** Starts it with further arguments, and waits until it answers. */
    async start(...extra) {
      const paths = ["--data", join(folder, "data"), "--lake", join(folder, "lake")];
      child = spawn(COMMAND, ["serve", "--listen", `127.0.0.1:${port}`, ...paths, ...extra], {
        stdio: ["ignore", "ignore", "pipe"],
      });
      let log = "";
      child.stderr.on("data", (data) => (log = (log + data).slice(-10_000)));
      let over = false;
      exited = new Promise((resolve) => child.once("exit", resolve)).then(() => (over = true));
      for (;;) {
        if (over) throw new Error(`the server ended: ${log}`);
        const answer = await fetch(`http://127.0.0.1:${port}/healthz`).catch(() => undefined);
        if (answer?.ok) return;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
    async stop(signal = "SIGTERM") {
      child?.kill(signal);
      await exited;
    },
    async remove() {
      await this.stop("SIGKILL");
      await rm(folder, { recursive: true, force: true });
    },
  };
}
