// A link is a TCP proxy between two parts of the demo. Cutting it resets its connections and refuses new ones.
import net from "node:net";
import { once } from "node:events";

export async function link(target) {
  const sockets = new Set();
  let up = true;
  const server = net.createServer((near) => {
    if (!up) return near.destroy();
    const far = net.connect(target.port, "127.0.0.1");
    for (const [from, to] of [[near, far], [far, near]]) {
      sockets.add(from);
      from.setNoDelay(true);
      from.pipe(to);
      from.on("error", () => to.destroy());
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: server.address().port,
    cut() {
      up = false;
      for (const socket of sockets) socket.resetAndDestroy();
    },
    restore() {
      up = true;
    },
    close() {
      this.cut();
      server.close();
    },
  };
}
