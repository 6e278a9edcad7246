"""httpx-sse on a conversation's own stream: read, cut, and taken up again where it was."""

import json
import os

import httpx
from httpx_sse import connect_sse

headers = {"Authorization": f"Bearer {os.environ['KEY']}"}
client = httpx.Client(base_url=os.environ["BASE_URL"], headers=headers, timeout=60)

talk, turn, text, sequences, last = None, None, "", [], None
cuts = 0


def read(source, most):
    global talk, turn, text, last
    for event in source.iter_sse():
        last = event.id or last
        data = json.loads(event.data)
        if event.event == "turn.delta":
            assert data["offset"] == len(text.encode()), data
            text += data["text"]
        else:
            sequences.append(data["sequence"])
            talk = data["conversation_id"]
            if event.event == "turn.started":
                turn = data["data"]["turn"]["id"]
            if event.event == "message.sent":
                assert data["data"]["message"]["content"] == text
            if event.event == "turn.completed":
                return True
        most -= 1
        if most <= 0 and turn:
            return False
    raise AssertionError("the stream ended before its end")


with connect_sse(client, "POST", "/v1/conversations", json={"message": "hello", "stream": True}) as source:
    done = read(source, 3)
while not done:
    cuts += 1
    path = f"/v1/conversations/{talk}/turns/{turn}/stream"
    with connect_sse(client, "GET", path, headers={"Last-Event-ID": last}) as source:
        done = read(source, 2)
assert cuts >= 2 and len(text) > 20, (cuts, text)
assert sequences == list(range(1, len(sequences) + 1)), sequences
assert client.get(path, headers={"Last-Event-ID": last}).status_code == 204
print("ok")
