// The AI SDK's chat with its default transport, changed in nothing but `api`: all of `useChat` but React.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

// The modules are installed beside the folder this is run in, not beside this file.
const require = createRequire(`${process.cwd()}/`);
const { AbstractChat, DefaultChatTransport } = require("ai");

const { BASE_URL, KEY } = process.env;
const headers = { Authorization: `Bearer ${KEY}` };
const api = `${BASE_URL}/v1/ai-sdk`;

class State {
  status = "ready";
  error = undefined;
  messages = [];
  pushMessage = (message) => (this.messages = [...this.messages, message]);
  popMessage = () => (this.messages = this.messages.slice(0, -1));
  replaceMessage = (at, message) => (this.messages = this.messages.with(at, structuredClone(message)));
  snapshot = (thing) => structuredClone(thing);
}

class Chat extends AbstractChat {
  constructor(id, messages = [], body = undefined) {
    const state = new State();
    state.messages = messages;
    super({ id, state, transport: new DefaultChatTransport({ api, headers, body }) });
  }
}

const text = (message) => message.parts.filter((part) => part.type === "text").map((part) => part.text).join("");
const call = async (method, path) => {
  const response = await fetch(BASE_URL + path, { method, headers });
  return response.status === 204 ? null : response.json();
};
const speaks = async (chat) => {
  while (!(chat.messages.at(-1)?.role === "assistant" && text(chat.messages.at(-1)))) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

// A question and its answer, under the id that the message has here.
const chat = new Chat("chat of my own/1");
await chat.sendMessage({ text: "where is my parcel" });
assert.equal(chat.status, "ready", chat.error);
assert.equal(chat.messages.length, 2);
const [, answer] = chat.messages;
assert.equal(text(answer), "By e-mail.");
const sources = answer.parts.filter((part) => part.type === "source-url");
assert.deepEqual(sources.map((source) => source.url), ["https://shop.example/parcels"]);
const talk = answer.metadata.conversation_id;
let stored = (await call("GET", `/v1/conversations/${talk}/messages`)).data;
assert.deepEqual(stored.map((message) => message.content), ["where is my parcel", "By e-mail."]);
assert.equal(stored[1].id, answer.id);
assert.equal(stored[0].client_message_id, chat.messages[0].id);

// Tried again, the answer takes the place of the old one on the page.
await chat.regenerate();
assert.equal(chat.messages.length, 2);
assert.notEqual(chat.messages[1].id, answer.id);
stored = (await call("GET", `/v1/conversations/${talk}/messages`)).data;
assert.deepEqual(stored.map((message) => message.role), ["customer", "assistant", "assistant"]);

// Further on in the same conversation.
await chat.sendMessage({ text: "and now?" });
assert.equal(chat.messages.length, 4);
assert.equal((await call("GET", `/v1/conversations/${talk}`)).message_count, 5);

// What failed is an error, before the first word and after it.
await chat.sendMessage({ text: "fail at once" });
assert.equal(chat.status, "error");
assert.match(chat.error.message, /model_failed/);
await chat.sendMessage({ text: "fail later" });
assert.equal(chat.status, "error");
assert.equal(text(chat.messages.at(-1)), "Half an");

// A page that is loaded again in the middle of an answer: the same message, from its start.
const first = new Chat("resumed");
const sending = first.sendMessage({ text: "wait in the middle" });
await speaks(first);
const again = new Chat("resumed", first.messages.slice(0, 1));
const resuming = again.resumeStream();
await speaks(again);
assert.equal(text(again.messages.at(-1)), "One");
await fetch(process.env.GO_ON);
await Promise.all([sending, resuming]);
for (const shown of [first, again]) {
  assert.equal(shown.status, "ready", shown.error);
  assert.equal(text(shown.messages.at(-1)), "One two.");
}
assert.equal(again.messages.at(-1).id, first.messages.at(-1).id);
assert.equal(again.messages.length, 2);

// Nothing to go on with.
const quiet = new Chat("never used");
await quiet.resumeStream();
assert.deepEqual([quiet.status, quiet.messages.length], ["ready", 0]);

// `stop()` hangs up; with `on_disconnect` that stops the answer here.
const stopped = new Chat("stopped", [], { on_disconnect: "stop" });
const endless = stopped.sendMessage({ text: "never end" });
await speaks(stopped);
const { conversation_id, turn_id } = stopped.messages.at(-1).metadata;
await stopped.stop();
await endless;
for (;;) {
  const turn = await call("GET", `/v1/conversations/${conversation_id}/turns/${turn_id}`);
  if (turn.status === "stopped") break;
  await new Promise((resolve) => setTimeout(resolve, 5));
}

// An answer that the server ends is no whole answer.
const erased = new Chat("erased");
const cut = erased.sendMessage({ text: "never end" });
await speaks(erased);
await call("DELETE", `/v1/conversations/${erased.messages.at(-1).metadata.conversation_id}`);
await cut;
assert.equal(erased.status, "error");
console.log("ok");
