// What a shop's page has to speak with the server: `fetch`, `EventSource` and `WebSocket`, as browsers have them.
const { api, key } = window.shop;

/** A request, and all that the page may read of its answer. */
window.ask = async (method, path, { as = key, body, headers = {} } = {}) => {
  const answer = await fetch(api + path, {
    method,
    headers: { Authorization: `Bearer ${as}`, "Content-Type": "application/json", ...headers },
    body: body && JSON.stringify(body),
  });
  const text = await answer.text();
  const read = text && JSON.parse(text);
  // A developer looks for it there.
  if (!answer.ok) console.error(`${read.error.code}: ${read.error.message}`);
  return { status: answer.status, headers: Object.fromEntries(answer.headers), body: read };
};

/** A conversation whose first answer is on its way, and a ticket for its streams. */
window.begin = async (message) => {
  const started = await window.ask("POST", "/v1/conversations", { body: { message: { content: message, wait_seconds: 0 } } });
  const { conversation, turn, client_token } = started.body;
  const path = `/v1/conversations/${conversation.id}`;
  return { path, turn: turn.id, token: client_token.token, ticket: await window.ticket(path, client_token.token) };
};

window.ticket = async (path, token) =>
  (await window.ask("POST", `${path}/stream_tickets`, { as: token, body: {} })).body.ticket;

const TURN = ["turn.started", "turn.restarted", "turn.delta", "message.sent", "turn.completed", "turn.stopped", "stream.closing"];
const encoder = new TextEncoder();

/** Reads an answer with an EventSource that is left to itself; `seen` is what came of it. */
window.watch = (url) => {
  const source = new EventSource(api + url);
  const seen = { kinds: [], text: "", whole: null, opened: 0, errors: 0, faults: [], closed: () => source.readyState === EventSource.CLOSED };
  source.onopen = () => seen.opened++;
  source.onerror = () => seen.errors++;
  for (const kind of TURN) {
    source.addEventListener(kind, ({ data }) => {
      const event = JSON.parse(data);
      if (kind !== "turn.delta") seen.kinds.push(kind);
      if (kind === "turn.restarted") seen.text = "";
      if (kind === "message.sent") seen.whole = event.data.message.content;
      if (kind !== "turn.delta") return;
      // What was missed or came twice does not meet what is here.
      if (event.offset !== encoder.encode(seen.text).length) seen.faults.push(data);
      seen.text += event.text;
    });
  }
  return (window.seen = seen);
};

/** A WebSocket, with what came on it and how it ended. */
window.call = (url) => {
  const socket = new WebSocket(api.replace("http", "ws") + url);
  const line = { socket, frames: [], opened: false, ended: null };
  socket.onopen = () => (line.opened = true);
  socket.onmessage = ({ data }) => line.frames.push(JSON.parse(data));
  socket.onclose = ({ code }) => (line.ended = code);
  return (window.line = line);
};

window.ready = true;
