"""The official Python client, changed in nothing but its address."""

import os

import httpx
import openai

BASE = os.environ["BASE_URL"]
KEY = os.environ["KEY"]
client = openai.OpenAI(base_url=f"{BASE}/v1", api_key=KEY)


def ask(text, **more):
    return client.chat.completions.create(
        model="test-model", messages=[{"role": "user", "content": text}], **more
    )


def fails(kind, act):
    try:
        act()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


assert [model.id for model in client.models.list()][0] == "test-model"

completion = ask("hello")
assert completion.choices[0].message.content == "Hello, Zoë!"
assert completion.choices[0].finish_reason == "stop"
assert completion.usage.total_tokens == 99
assert completion.openclaw["conversation_id"] is None
assert completion._request_id.startswith("req_")

stream = ask("hello", stream=True, stream_options={"include_usage": True})
chunks = list(stream)
assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello, Zoë!"
assert chunks[0].choices[0].delta.role == "assistant"
assert chunks[-1].usage.completion_tokens == 9 and not chunks[-1].choices

assert ask("hello", stop=["Zo"]).choices[0].message.content == "Hello, "
assert ask("hello", max_completion_tokens=1).choices[0].finish_reason == "length"

# The helper that puts the chunks together.
with client.chat.completions.stream(
    model="test-model", messages=[{"role": "user", "content": "hello"}]
) as events:
    kinds = [event.type for event in events]
    assert events.get_final_completion().choices[0].message.content == "Hello, Zoë!"
assert kinds.count("content.delta") >= 1 and kinds[-1] == "content.done", kinds

raw = client.chat.completions.with_raw_response.create(
    model="test-model", messages=[{"role": "user", "content": "hello"}]
)
assert raw.headers["x-ratelimit-remaining"].isdigit()

error = fails(openai.NotFoundError, lambda: client.chat.completions.create(model="gpt", messages=[]))
assert error.code == "model_not_found" and error.param == "model", error
error = fails(openai.BadRequestError, lambda: ask("hello", n=2))
assert error.code == "unsupported_parameter" and error.param == "n", error
stranger = openai.OpenAI(base_url=f"{BASE}/v1", api_key="oc_live_nonsense")
fails(openai.AuthenticationError, lambda: stranger.models.list())

patient = client.with_options(max_retries=0)
error = fails(
    openai.InternalServerError,
    lambda: patient.chat.completions.create(
        model="test-model", messages=[{"role": "user", "content": "fail at once"}]
    ),
)
assert error.status_code == 502 and error.code == "model_failed", error
heard = []
error = fails(
    openai.APIError,
    lambda: heard.extend(chunk.choices[0].delta.content or "" for chunk in ask("fail later", stream=True)),
)
assert "".join(heard) == "Half an" and error.code == "model_failed", (heard, error)

# In a conversation, whose answers are kept.
api = httpx.Client(base_url=BASE, headers={"Authorization": f"Bearer {KEY}"})
talk = api.post("/v1/conversations").json()["conversation"]["id"]
assert ask("hello", metadata={"conversation_id": talk}).openclaw["conversation_id"] == talk
named = {"X-Conversation-Id": talk}
reply = "".join(
    chunk.choices[0].delta.content or "" for chunk in ask("and again", stream=True, extra_headers=named)
)
said = [message["content"] for message in api.get(f"/v1/conversations/{talk}/messages").json()["data"]]
assert said == ["hello", "Hello, Zoë!", "and again", reply], said

# A message that is stored is not sent again by a client that tries again by itself.
failed = fails(openai.InternalServerError, lambda: ask("fail at once", extra_headers=named))
said = [message["content"] for message in api.get(f"/v1/conversations/{talk}/messages").json()["data"]]
assert said.count("fail at once") == 1, said


# An answer that the server ends is no whole answer.
def broken():
    for chunk in ask("never end", stream=True, extra_headers=named):
        if chunk.choices and chunk.choices[0].delta.content:
            assert api.delete(f"/v1/conversations/{talk}").status_code == 204


try:
    broken()
except Exception as error:  # Which one depends on the HTTP library beneath.
    assert not isinstance(error, AssertionError), error
else:
    raise AssertionError("the broken stream passed for a whole answer")
print("ok")
