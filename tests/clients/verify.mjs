// Verifies deliveries with the libraries that receivers use, unchanged.
//
// Reads one JSON object per line, {"secret", "headers", "body"}, and answers each with one that says of every library
// whether it took the delivery: {"standardwebhooks": true, "svix": true}.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// The modules are installed beside the folder this is run in, not beside this file.
const require = createRequire(`${process.cwd()}/`);
const libraries = { standardwebhooks: require("standardwebhooks"), svix: require("svix") };

function takes({ Webhook, WebhookVerificationError }, { secret, headers, body }) {
  try {
    new Webhook(secret).verify(body, headers);
    return true;
  } catch (error) {
    if (error instanceof WebhookVerificationError) return false;
    throw error;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const delivery = JSON.parse(line);
  const verdicts = Object.entries(libraries).map(([name, library]) => [name, takes(library, delivery)]);
  console.log(JSON.stringify(Object.fromEntries(verdicts)));
}
