// A shop's chat: the AI SDK's `useChat` as it comes, told nothing but where the server is. The tab keeps its conversation,
// so that a page that is loaded again goes on with it.
import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";
import { createRoot } from "react-dom/client";

const { api, key, body } = window.shop;

const call = async (method, path, key, content) => {
  const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };
  const answer = await fetch(api + path, { method, headers, body: content && JSON.stringify(content) });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
};

const begin = async () => {
  const { conversation, client_token } = await call("POST", "/v1/conversations", key, {});
  return { id: conversation.id, token: client_token.token };
};

// What was said so far, under the ids that the stream uses.
const past = async ({ id, token }) => {
  const { data } = await call("GET", `/v1/conversations/${id}/messages?limit=100`, token);
  return data.map((message) => ({
    id: message.client_message_id ?? message.id,
    role: message.role === "customer" ? "user" : "assistant",
    parts: [{ type: "text", text: message.content }],
  }));
};

const text = ({ parts }) => parts.filter((part) => part.type === "text").map((part) => part.text).join("");

const Chat = ({ talk, messages }) => {
  const chat = useChat({
    id: talk.id,
    messages,
    resume: true,
    transport: new DefaultChatTransport({
      api: `${api}/v1/ai-sdk`,
      headers: { Authorization: `Bearer ${talk.token}` },
      body,
    }),
  });
  // For whoever reads over the customer's shoulder: how the last message grew.
  window.growth ??= [];
  const last = chat.messages.at(-1);
  const shown = last?.role === "assistant" ? text(last) : "";
  if (shown && window.growth.at(-1) !== shown) window.growth.push(shown);
  window.chat = chat;
  window.talk = talk;
  return (
    <>
      <ol>
        {chat.messages.map((message) => (
          <li key={message.id} className={message.role}>{text(message)}</li>
        ))}
      </ol>
      <p id="status">{chat.status}</p>
      {chat.error && <p id="error">{chat.error.message}</p>}
    </>
  );
};

const kept = sessionStorage.getItem("talk");
const talk = kept ? JSON.parse(kept) : await begin();
sessionStorage.setItem("talk", JSON.stringify(talk));
createRoot(document.getElementById("root")).render(<Chat talk={talk} messages={await past(talk)} />);
