"""LangChain's client of OpenAI, changed in nothing but its address."""

import os

from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI

os.environ["LANGSMITH_TRACING"] = "false"
model = ChatOpenAI(
    base_url=f"{os.environ['BASE_URL']}/v1", api_key=os.environ["KEY"], model="test-model", max_retries=0
)

answer = model.invoke([SystemMessage("Be kind."), HumanMessage("hello")])
assert answer.content == "Hello, Zoë!", answer
assert answer.usage_metadata["total_tokens"] == 99, answer.usage_metadata
assert answer.response_metadata["finish_reason"] == "stop"

pieces = list(model.stream("hello", stream_usage=True))
whole = sum(pieces[1:], pieces[0])
assert whole.content == "Hello, Zoë!" and len(pieces) > 2, pieces
assert whole.usage_metadata["output_tokens"] == 9, whole.usage_metadata

assert model.bind(stop=["Zo"]).invoke("hello").content == "Hello, "
assert model.batch(["hello", "hello"])[1].content == "Hello, Zoë!"

heard = []
try:
    for piece in model.stream("fail later"):
        heard.append(piece.content)
except Exception as error:
    assert "".join(heard) == "Half an", (heard, error)
else:
    raise AssertionError("a failed answer passed for a whole one")
print("ok")
