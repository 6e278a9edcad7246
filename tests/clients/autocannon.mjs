// autocannon, a load tool that knows nothing of this server, against its two streaming routes.
//
//   BASE_URL=http://127.0.0.1:8080 KEY=oc_live_… node autocannon.mjs
//
// Each stream is read to its end and looked at as a whole. Prints what the tool counted, as one line of JSON for each
// route, and then "ok".
import assert from "node:assert/strict";
import { createRequire } from "node:module";

// The modules are where the tests install them, which is the working directory.
const autocannon = createRequire(`${process.cwd()}/`)("autocannon");

const { BASE_URL, KEY } = process.env;
const CONNECTIONS = 8;
const REQUESTS = 400;
const WORDS = 20;
const headers = { authorization: `Bearer ${KEY}`, "content-type": "application/json" };

const data = (body) => body.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));

// A turn: its deltas join to its message, and it ends once.
function isTurn(body) {
  const events = data(body).map((line) => JSON.parse(line));
  const text = events.filter(({ type }) => type === "turn.delta").map(({ text }) => text).join("");
  const sent = events.filter(({ type }) => type === "message.sent");
  const ends = events.filter(({ type }) => type === "turn.completed");
  return sent.length === 1 && sent[0].data.message.content === text && text.split(" ").length === WORDS
    && ends.length === 1 && events.at(-1) === ends[0];
}

// A completion: as many words as it counts, and [DONE] at its end.
function isCompletion(body) {
  const lines = data(body);
  if (lines.at(-1) !== "[DONE]") return false;
  const chunks = lines.slice(0, -1).map((line) => JSON.parse(line));
  const text = chunks.flatMap(({ choices }) => choices).map(({ delta }) => delta.content ?? "").join("");
  const finished = chunks.filter(({ choices }) => choices[0]?.finish_reason === "stop");
  return finished.length === 1 && text.split(" ").length === WORDS && chunks.at(-1).usage.completion_tokens === WORDS;
}

// Runs the tool for each of these paths at once, and adds up what it counted.
async function load(name, paths, connections, body, verifyBody) {
  const amount = REQUESTS / paths.length;
  const options = (path) => ({ url: `${BASE_URL}${path}`, connections, amount, method: "POST", headers, body, verifyBody });
  const results = await Promise.all(paths.map((path) => autocannon(options(path))));
  const sum = (count) => results.reduce((all, result) => all + result[count], 0);
  const counted = { name, streams: sum("2xx") };
  for (const what of ["errors", "timeouts", "mismatches", "non2xx", "resets"]) counted[what] = sum(what);
  console.log(JSON.stringify(counted));
}

// A conversation for each connection, because a conversation's turns come one after the other.
const paths = [];
for (let number = 0; number < CONNECTIONS; number++) {
  const begun = await fetch(`${BASE_URL}/v1/conversations`, { method: "POST", headers, body: '{"channel":"load"}' });
  assert.equal(begun.status, 201);
  paths.push(`/v1/conversations/${(await begun.json()).conversation.id}/messages`);
}
const message = JSON.stringify({ content: "Where is my parcel?", stream: true });
await load("messages", paths, 1, message, isTurn);

const completion = JSON.stringify({
  model: "synthetic", messages: [{ role: "user", content: "Hello" }], stream: true, stream_options: { include_usage: true },
});
await load("completions", ["/v1/chat/completions"], CONNECTIONS, completion, isCompletion);
console.log("ok");
