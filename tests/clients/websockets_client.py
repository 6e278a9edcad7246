"""websockets on a conversation: commands, and a connection that is cut over and over and taken up again where it was."""

import asyncio
import json
import os

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

URL = os.environ["BASE_URL"].replace("http", "ws") + os.environ["TALK"] + "/ws"


def open_socket(rest="", headers=None):
    # Compression is offered, as this client does by itself.
    return connect(URL + rest, additional_headers=headers or {"Authorization": f"Bearer {os.environ['KEY']}"})


async def main():
    text, sequences, cursor, cuts, done = "", [], 0, 0, False
    async with open_socket() as socket:
        await socket.send(json.dumps({"type": "message.send", "ref": "one", "content": "hello"}))
        answer = json.loads(await socket.recv())
        while answer["type"] != "ack":
            answer = json.loads(await socket.recv())
        assert answer["ref"] == "one" and answer["message"]["content"] == "hello", answer
        socket.transport.abort()
    while not done:
        async with open_socket(f"?after={cursor}") as socket:
            for _ in range(3):
                frame = json.loads(await socket.recv())
                cursor = frame["cursor"]
                if frame["type"] == "turn.delta":
                    assert frame["offset"] == len(text.encode()), frame
                    text += frame["text"]
                    continue
                sequences.append(frame["sequence"])
                if frame["type"] == "message.sent":
                    assert frame["data"]["message"]["content"] == text
                done = frame["type"] == "turn.completed"
                if done:
                    break
            cuts += 1
            socket.transport.abort()
    assert cuts > 2 and len(text) > 20, (cuts, text)
    assert sequences == list(range(1, len(sequences) + 1)), sequences

    async with open_socket() as socket:
        await asyncio.wait_for(await socket.ping(), 60)
        # In parts, as this client sends what comes bit by bit.
        await socket.send(['{"type": "dance", ', '"ref": "two"}'])
        error = json.loads(await socket.recv())
        assert (error["type"], error["ref"], error["error"]["param"]) == ("error", "two", "type"), error
        await socket.send(" " * (1 << 20) + " ")
        try:
            raise AssertionError(await socket.recv())
        except ConnectionClosed as closed:
            assert closed.rcvd.code == 1009, closed
    async with open_socket() as socket:
        await socket.close(4000)
        assert socket.close_code == 4000
    try:
        async with open_socket(headers={"Authorization": "Bearer nobody"}):
            raise AssertionError("let in")
    except InvalidStatus as refused:
        assert refused.response.status_code == 401
        assert json.loads(refused.response.body)["error"]["code"] == "invalid_key"


asyncio.run(main())
print("ok")
