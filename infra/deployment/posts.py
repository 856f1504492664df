"""A messenger that connects itself: signed posts both ways (infra/messengers.md)."""

import base64
import hashlib
import hmac
import http.server
import json
import secrets
import threading
import time


class Smoke:
    """A messenger that takes whatever is posted to it, and keeps it."""

    def __init__(self):
        self.key, self.posts = secrets.token_bytes(32), []
        posts = self.posts

        class Hook(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                posts.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def setup(self):
        """What an operator puts into the secret boxoffice/messengers."""
        url = f"http://127.0.0.1:{self.server.server_port}/hook"
        secret = f"whsec_{base64.b64encode(self.key).decode()}"
        return {"smoke": {"url": url, "deep_link": "https://smoke.example/start?token={token}", "secrets": [secret]}}

    def signed(self, body):
        """The headers of a post to the box office."""
        name, now = f"msg_{secrets.token_hex(12)}", str(int(time.time()))
        code = hmac.digest(self.key, f"{name}.{now}.{json.dumps(body)}".encode(), hashlib.sha256)
        signature = f"v1,{base64.b64encode(code).decode()}"
        return {"webhook-id": name, "webhook-timestamp": now, "webhook-signature": signature}

    def of(self, chat):
        """What was posted for this chat."""
        return [post for post in self.posts if post["data"]["chat"] == chat]
