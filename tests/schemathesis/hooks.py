"""What Schemathesis cannot know of this server from its OpenAPI document, each with its reason.

`tests/it/schemathesis.rs` runs it, and says in the environment where things are.
"""

import atexit
import itertools
import json
import os
import re

import schemathesis
from hypothesis import strategies
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.meta import TestPhase

# --- values that a schema names and cannot describe

# Whether a name is that of a time zone says a database.
schemathesis.openapi.format(
    "iana-time-zone", strategies.sampled_from(["UTC", "Europe/Amsterdam", "Asia/Kathmandu", "America/St_Johns"])
)
# Schemathesis writes letters and digits into headers, and a tag has quotes.
schemathesis.openapi.format("entity-tag", strategies.sampled_from(["*", '"1"', '"1", W/"2"', '"elsewhere"']))
# In a request this is where webhooks are sent: to the test's own receiver, and to nobody else.
schemathesis.openapi.format("url", strategies.just(os.environ["RECEIVER"]))

# --- streams and lines: the document gives the schema of an event's data, and of a line


@schemathesis.hook
def before_load_schema(context, raw_schema):
    for content in answers_of(raw_schema):
        events = content.get("text/event-stream")
        if events is not None:
            data = {"type": "string", "contentMediaType": "application/json", "contentSchema": events["schema"]}
            events["schema"] = {"type": "object", "properties": {"data": data}, "required": ["data"]}
        lines = content.get("application/x-ndjson")
        if lines is not None:
            lines["schema"] = {"type": "array", "items": lines["schema"]}


def answers_of(document):
    operations = (operation for path in document["paths"].values() for operation in path.values())
    for operation in operations:
        if isinstance(operation, dict):
            yield from (response.get("content", {}) for response in operation["responses"].values())


@schemathesis.deserializer("application/x-ndjson")
def lines_of(context, response):
    return [json.loads(line) for line in response.content.splitlines()]


@schemathesis.serializer("application/x-ndjson", "application/ndjson", "application/jsonl")
def as_lines(context, value):
    return json.dumps(value).encode() + b"\n"


@schemathesis.check
def import_conformance(ctx, response, case):
    """One bad line stops nothing, so an import says in its counts what Schemathesis looks for in its status."""
    if case.operation.label != "POST /v1/knowledge/import" or response.status_code != 202 or case.meta is None:
        return
    refused = response.json()["counts"]["refused"]
    if is_positive(case):
        assert refused == 0, f"a good line was refused: {response.json()['errors']}"
    if case.meta.is_negative_at(ParameterLocation.BODY):
        assert refused > 0, "a bad line was taken"


# --- streams that say something


@schemathesis.hook
def before_call(context, case, kwargs):
    path = case.operation.path
    # From now, or from a position that an answer gave, a stream says nothing until something happens.
    if path.endswith("/stream") and is_positive(case) and (is_stateful(case) or "after" not in (case.query or {})):
        case.query = {**(case.query or {}), "after": "0"}
    if is_positive(case) and not is_stateful(case):
        for operation, ids in KNOWN:
            if operation.fullmatch(case.operation.label):
                case.path_parameters = {**(case.path_parameters or {}), **next(ids)}
    # It would saw off the branch that it sits on.
    own = (case.path_parameters or {}).get("id")
    if case.method != "GET" and own in OWN:
        case.path_parameters = {**case.path_parameters, "id": own.split("_")[0] + "_" + "0" * 26}


# Things that were there before, in turn: where a path has two ids, or only a thing in one state will do, none is hit by
# chance.
KNOWN = [(re.compile(operation), itertools.cycle(ids)) for operation, ids in json.loads(os.environ["KNOWN"])]

# The key that it uses, and whose it is.
OWN = json.loads(os.environ["OWN"])


def is_stateful(case):
    return case.meta is not None and case.meta.phase.name == TestPhase.STATEFUL


def is_positive(case):
    return case.meta is not None and case.meta.generation.mode.is_positive


# --- what was answered with what was asked for: the test looks for operations that never were

succeeded = set()


@schemathesis.hook
def after_call(context, case, response):
    if 200 <= response.status_code < 300 and response.request.method == case.operation.method.upper():
        succeeded.add(case.operation.label)


@atexit.register
def write_what_succeeded():
    with open(os.environ["ANSWERS"], "w") as file:
        json.dump(sorted(succeeded), file)


# --- what is refused for another reason than its shape

REFUSED_FOR = [
    # Which positions there are says the list or the stream that gave them.
    ("invalid_cursor", ".*", ".*"),
    # Which models there are says the configuration.
    ("invalid_field", "(message\\.)?model", "POST /v1/conversations(/{id}/messages)?"),
    # Only an agent's message has an author.
    ("invalid_field", "(message\\.)?author", "POST /v1/conversations(/{id}/messages)?"),
    # The last message of a user is the new one, and has a text; earlier ones need none.
    ("invalid_field", "messages.*", "POST /v1/(ai-sdk|chat/completions)"),
    # The header and the body may both name the conversation.
    ("invalid_field", "metadata.conversation_id", "POST /v1/chat/completions"),
    # It does not ask for a WebSocket: `tests/it/websocket.rs` does.
    ("invalid_handshake", "None", "GET /v1/conversations/{id}/ws"),
    # Two dates that are drawn apart are in any order, and far from each other.
    ("invalid_field", "from", "GET /v1/analytics(/conversations)?"),
    ("range_too_long", "from", "GET /v1/analytics"),
    ("invalid_field", "since|until", "POST /v1/webhooks/{id}/replay"),
    # One of two filters.
    ("invalid_field", "customer_id", "GET /v1/audit"),
    # Of two thresholds the lower; intervals that follow each other.
    ("invalid_field", "suggest_threshold|opening_hours", "POST /v1/organizations|PATCH /v1/organization"),
    # The future begins when the request comes, and what a key may have depends on its kind.
    ("invalid_field", "expires_at|scopes|allowed_origins", "POST /v1/keys|PATCH /v1/keys/{id}"),
    # A name and its value have a length together, and some names are the server's.
    ("invalid_field", "headers", "POST /v1/webhooks|PATCH /v1/webhooks/{id}"),
    # Which addresses are public says the network, and which others are allowed the operator.
    ("address_not_allowed", "url", "POST /v1/webhooks|PATCH /v1/webhooks/{id}"),
    # The body may repeat the path's.
    ("invalid_field", "external_id", "PUT /v1/knowledge/external/{external_id}"),
    # What is mirrored is a source that must be named.
    ("invalid_field", "source", "POST /v1/knowledge/import"),
]


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Keeps all failures but those of positive_data_acceptance that stand in the table, and of what nobody reads."""
    kind = type(failure).__name__
    # Whoever comes back says in a header where they were: it wins, and what stands in the address is not read.
    if kind == "AcceptedNegativeData" and case.operation.path.endswith("/stream"):
        return "Last-Event-ID" not in (case.headers or {}) or "`after`" not in failure.message
    if kind != "RejectedPositiveData" or response.status_code != 400:
        return True
    error = response.json()["error"]
    found = (error["code"], str(error["param"]), case.operation.label)
    return not any(all(map(re.fullmatch, reason, found)) for reason in REFUSED_FOR)
