// eventsource-parser on a conversation's own stream: read, cut, and taken up again where it was.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

// The modules are installed beside the folder this is run in, not beside this file.
const require = createRequire(`${process.cwd()}/`);
const { EventSourceParserStream } = require("eventsource-parser/stream");

const { BASE_URL, KEY } = process.env;
const open = async (path, more = {}) => {
  const headers = { authorization: `Bearer ${KEY}`, "content-type": "application/json", ...more.headers };
  const response = await fetch(BASE_URL + path, { ...more, headers });
  return response.status === 204 ? null : response.body;
};

let talk, turn, last;
let text = "";
let cuts = 0;
const sequences = [];

/** Reads at most so many events; says whether that was the end. */
async function read(body, most) {
  const events = body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  for await (const event of events) {
    last = event.id ?? last;
    const data = JSON.parse(event.data);
    if (event.event === "turn.delta") {
      assert.equal(data.offset, Buffer.byteLength(text));
      text += data.text;
    } else {
      sequences.push(data.sequence);
      talk = data.conversation_id;
      turn = data.data.turn?.id ?? turn;
      if (event.event === "message.sent") assert.equal(data.data.message.content, text);
      if (event.event === "turn.completed") return true;
    }
    if (--most <= 0 && turn) return false;
  }
  throw new Error("the stream ended before its end");
}

const body = JSON.stringify({ message: "hello", stream: true });
let done = await read(await open("/v1/conversations", { method: "POST", body }), 3);
while (!done) {
  cuts += 1;
  const path = `/v1/conversations/${talk}/turns/${turn}/stream`;
  done = await read(await open(path, { headers: { "Last-Event-ID": last } }), 2);
}
assert.ok(cuts >= 2 && text.length > 20, `${cuts} ${text}`);
assert.deepEqual(sequences, sequences.map((_, at) => at + 1));
assert.equal(await open(`/v1/conversations/${talk}/turns/${turn}/stream`, { headers: { "Last-Event-ID": last } }), null);
console.log("ok");
