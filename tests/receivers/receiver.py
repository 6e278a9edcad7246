"""A receiver of webhooks in Python, with the official library: pip install standardwebhooks

    WEBHOOK_SECRET=whsec_… python3 receiver.py [PORT]

It verifies before it reads anything, acts on each event once, and answers quickly. Work that takes long belongs in a
queue of your own: what is not answered within five seconds is sent again.
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["WEBHOOK_SECRET"])

# In your database instead, with a unique key, in the transaction of what the event makes you do: then a crash between
# the two cannot do it twice, or not at all.
seen, one_at_a_time = set(), Lock()


def act(event):
    """What you want to happen, once per event."""
    print(event["type"], event["conversation_id"], event["sequence"], flush=True)


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps the connection for the next event

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            # The very bytes that came: JSON that was read and written again has another signature.
            event = webhook.verify(body, {name.lower(): value for name, value in self.headers.items()})
        except WebhookVerificationError:
            return self.answer(401)
        # The same id comes again when an answer was lost, and when somebody asks for the event once more.
        with one_at_a_time:
            if self.headers["webhook-id"] not in seen:
                act(event)
                seen.add(self.headers["webhook-id"])
        self.answer(200)

    def answer(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 9000), Receiver)
print(f"listening on http://127.0.0.1:{server.server_port}/", flush=True)
server.serve_forever()
