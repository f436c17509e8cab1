"""A person's browser: a page in a real Chromium that has the JavaScript package and keeps everything in its IndexedDB."""

import json
import subprocess
from pathlib import Path


class Browser:
    def __init__(self):
        script = Path(__file__).with_name("browser.mjs")
        self.process = subprocess.Popen(["node", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._answer() == "ready"

    def run(self, javascript):
        """Run the body of an asynchronous function, in which `hw` is the package; gives what it returns."""
        return self._send(javascript)

    def open(self, database=None, server=None):
        """Make `db` a database of the page's, a new one unless it is named, which syncs with a server if there is one."""
        socket = server and server.replace("http", "ws", 1)
        return self.run(
            f"""
            globalThis.eventually = (collection, look, milliseconds) => new Promise((resolve, reject) => {{
                const late = () => reject(new Error(`${{look}} gave nothing in ${{milliseconds}} ms`));
                const timer = setTimeout(late, milliseconds);
                const again = () => {{
                    const value = look();
                    if (value === undefined) return;
                    clearTimeout(timer);
                    resolve(value);
                }};
                collection.subscribe(again);
                again();
            }});
            const [id, socket] = {json.dumps([database, socket])};
            const peer = await hw.openPeer();
            globalThis.db = id === null ? await peer.create() : await peer.open(id);
            if (socket !== null) db.connect(socket);
            return db.id;
            """
        )

    def reload(self):
        """Load the page anew: what it had in memory is gone."""
        self._send(None)

    def _send(self, message):
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        assert line, "the browser ended"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
