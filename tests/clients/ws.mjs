// ws on a conversation: commands, and a connection that is cut over and over and taken up again where it was.
import assert from "node:assert/strict";
import { on, once } from "node:events";
import { createRequire } from "node:module";

// The modules are installed beside the folder this is run in, not beside this file.
const require = createRequire(`${process.cwd()}/`);
const { WebSocket } = require("ws");

const { BASE_URL, KEY, TALK } = process.env;
// Compression is offered, as this client does by itself.
const open = (rest = "", key = KEY) =>
  new WebSocket(`${BASE_URL.replace("http", "ws")}${TALK}/ws${rest}`, { headers: { Authorization: `Bearer ${key}` } });
const until = async (socket, type) => {
  for await (const [data] of on(socket, "message")) {
    const frame = JSON.parse(data);
    if (frame.type === type) return frame;
  }
};

const first = open();
await once(first, "open");
assert.equal(first.extensions, "");
first.send(JSON.stringify({ type: "message.send", ref: "one", content: "hello" }));
const ack = await until(first, "ack");
assert.deepEqual([ack.ref, ack.message.content], ["one", "hello"]);
first.terminate();

let cursor = 0;
let text = "";
let cuts = 0;
let done = false;
const sequences = [];
while (!done) {
  const socket = open(`?after=${cursor}`);
  let most = 3;
  for await (const [data] of on(socket, "message")) {
    const frame = JSON.parse(data);
    cursor = frame.cursor;
    if (frame.type === "turn.delta") {
      assert.equal(frame.offset, Buffer.byteLength(text));
      text += frame.text;
    } else {
      sequences.push(frame.sequence);
      if (frame.type === "message.sent") assert.equal(frame.data.message.content, text);
      done = frame.type === "turn.completed";
    }
    if (done || --most === 0) break;
  }
  socket.terminate();
  cuts += 1;
}
assert.ok(cuts > 2 && text.length > 20, `${cuts} ${text}`);
assert.deepEqual(sequences, sequences.map((_, at) => at + 1));

const socket = open();
await once(socket, "open");
socket.ping("there?");
assert.equal(String((await once(socket, "pong"))[0]), "there?");
// In parts, as this client sends what comes bit by bit.
socket.send('{"type": "dance", ', { fin: false });
socket.send('"ref": "two"}', { fin: true });
const error = await until(socket, "error");
assert.deepEqual([error.ref, error.error.param], ["two", "type"]);
socket.send(" ".repeat((1 << 20) + 1));
assert.equal((await once(socket, "close"))[0], 1009);

const leaving = open();
await once(leaving, "open");
leaving.close(4000);
assert.equal((await once(leaving, "close"))[0], 4000);

const nobody = open("", "nobody");
const [, refused] = await once(nobody, "unexpected-response");
assert.equal(refused.statusCode, 401);
nobody.on("error", () => {}).terminate();
console.log("ok");
