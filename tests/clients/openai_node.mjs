// The official client for Node, changed in nothing but its address.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

// The modules are installed beside the folder this is run in, not beside this file.
const require = createRequire(`${process.cwd()}/`);
const { OpenAI } = require("openai");

const { BASE_URL, KEY } = process.env;
const client = new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: KEY });
const ask = (text, more = {}, options = {}) =>
  client.chat.completions.create({ model: "test-model", messages: [{ role: "user", content: text }], ...more }, options);

const models = await client.models.list();
assert.equal(models.data[0].id, "test-model");

const completion = await ask("hello");
assert.equal(completion.choices[0].message.content, "Hello, Zoë!");
assert.equal(completion.usage.total_tokens, 99);

let text = "";
let usage;
for await (const chunk of await ask("hello", { stream: true, stream_options: { include_usage: true } })) {
  text += chunk.choices[0]?.delta.content ?? "";
  usage = chunk.usage ?? usage;
}
assert.equal(text, "Hello, Zoë!");
assert.equal(usage.completion_tokens, 9);

// The helper that puts the chunks together.
const runner = client.chat.completions.stream({
  model: "test-model",
  messages: [{ role: "user", content: "hello" }],
});
assert.equal(await runner.finalContent(), "Hello, Zoë!");

await assert.rejects(ask("hello", { model: "gpt" }), { status: 404, code: "model_not_found", param: "model" });
await assert.rejects(ask("hello", { tools: [{ type: "function", function: { name: "f" } }] }), {
  status: 400,
  code: "unsupported_parameter",
  param: "tools",
});
await assert.rejects(ask("fail at once", {}, { maxRetries: 0 }), { status: 502, code: "model_failed" });

const heard = [];
await assert.rejects(
  async () => {
    for await (const chunk of await ask("fail later", { stream: true })) {
      heard.push(chunk.choices[0]?.delta.content ?? "");
    }
  },
  { code: "model_failed" },
);
assert.equal(heard.join(""), "Half an");

// Whoever stops reading stops the answer: the test looks at the upstream.
const stream = await ask("never end", { stream: true });
for await (const chunk of stream) {
  if (chunk.choices[0]?.delta.content) break;
}
stream.controller.abort();

// An answer that the server ends is no whole answer.
const api = (method, path) =>
  fetch(BASE_URL + path, { method, headers: { authorization: `Bearer ${KEY}` } });
const talk = (await (await api("POST", "/v1/conversations")).json()).conversation.id;
await assert.rejects(async () => {
  const broken = await ask("never end", { stream: true }, { headers: { "X-Conversation-Id": talk } });
  for await (const chunk of broken) {
    if (chunk.choices[0]?.delta.content) assert.equal((await api("DELETE", `/v1/conversations/${talk}`)).status, 204);
  }
});
console.log("ok");
