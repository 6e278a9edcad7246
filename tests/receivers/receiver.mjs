// A receiver of webhooks in Node, with the official library: npm install standardwebhooks
//
//     WEBHOOK_SECRET=whsec_… node receiver.mjs [PORT]
//
// It verifies before it reads anything, acts on each event once, and answers quickly. Work that takes long belongs in a
// queue of your own: what is not answered within five seconds is sent again.

import { createServer } from "node:http";
import { createRequire } from "node:module";

// In a project of your own: import { Webhook } from "standardwebhooks"
const { Webhook, WebhookVerificationError } = createRequire(`${process.cwd()}/`)("standardwebhooks");

const webhook = new Webhook(process.env.WEBHOOK_SECRET);

// In your database instead, with a unique key, in the transaction of what the event makes you do: then a crash between
// the two cannot do it twice, or not at all.
const seen = new Set();

/** What you want to happen, once per event. */
function act(event) {
  console.log(event.type, event.conversation_id, event.sequence);
}

const server = createServer(async (request, response) => {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  let event;
  try {
    // The very bytes that came: JSON that was read and written again has another signature.
    event = webhook.verify(Buffer.concat(pieces).toString("utf8"), request.headers);
  } catch (error) {
    if (!(error instanceof WebhookVerificationError)) throw error;
    response.writeHead(401).end();
    return;
  }
  // The same id comes again when an answer was lost, and when somebody asks for the event once more.
  const id = request.headers["webhook-id"];
  if (!seen.has(id)) {
    act(event);
    seen.add(id);
  }
  response.writeHead(204).end();
});

server.listen(Number(process.argv[2] ?? 9000), "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}/`);
});
