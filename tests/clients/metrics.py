"""prometheus_client's parsers on a scrape in each format: the same families, with the labels that were promised."""

import os
from urllib.request import Request, urlopen

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

# What the contract names, with the labels that it names.
PROMISED = {
    "openclaw_http_requests": ("counter", {"route", "method", "status"}),
    "openclaw_http_request_duration_seconds": ("histogram", {"route", "method"}),
    "openclaw_time_to_first_token_seconds": ("histogram", {"model"}),
    "openclaw_time_to_completion_seconds": ("histogram", {"model"}),
    "openclaw_inter_token_seconds": ("histogram", set()),
    "openclaw_streams_active": ("gauge", set()),
    "openclaw_conversations_active": ("gauge", set()),
    "openclaw_turns": ("counter", {"status"}),
    "openclaw_rate_limited": ("counter", set()),
    "openclaw_refusals": ("counter", {"reason"}),
    "openclaw_commit_seconds": ("histogram", set()),
    "openclaw_index_lag_seconds": ("histogram", set()),
    "openclaw_webhook_deliveries": ("counter", {"outcome"}),
    "openclaw_webhook_delivery_seconds": ("histogram", set()),
    "openclaw_actor_restarts": ("counter", {"actor"}),
    "process_cpu_seconds": ("counter", set()),
    "process_resident_memory_bytes": ("gauge", set()),
    "process_virtual_memory_bytes": ("gauge", set()),
    "process_open_fds": ("gauge", set()),
    "process_max_fds": ("gauge", set()),
    "process_start_time_seconds": ("gauge", set()),
}


def scraped(accept, parse):
    with urlopen(Request(os.environ["BASE_URL"] + "/metrics", headers={"Accept": accept})) as answer:
        assert answer.headers["Content-Type"].startswith(accept), answer.headers["Content-Type"]
        text = answer.read().decode()
    return text, {family.name: family for family in parse(text)}


# One as Prometheus asks by itself; one of a scraper that knows the text format alone.
text, families = scraped("application/openmetrics-text; version=1.0.0", open_metrics)
assert text.endswith("\n# EOF\n")
_, plain = scraped("text/plain; version=0.0.4", plain_text)

for name, (kind, labels) in PROMISED.items():
    family = families[name]
    assert family.type == kind, (name, family.type)
    assert family.samples, name
    for sample in family.samples:
        assert set(sample.labels) - {"le"} == labels, sample
for name, family in families.items():
    assert family.documentation, name
    # In base units, which the name says.
    if family.type == "histogram":
        assert family.unit == "seconds", name
    assert not family.unit or name.endswith("_" + family.unit), name
    # Process' values move between two scrapes; what is there does not.
    series = {(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples}
    # Ours of the first scrape are counted in the second.
    assert series <= {(sample.name, tuple(sorted(sample.labels.items()))) for sample in plain[name].samples}, name
    assert (plain[name].type, plain[name].documentation) == (family.type, family.documentation), name
assert set(families) == set(plain)

edges = {sample.labels["le"] for sample in families["openclaw_time_to_first_token_seconds"].samples if "le" in sample.labels}
assert {"0.8", "+Inf"} <= edges, edges
counted = {sample.labels["status"]: sample.value for sample in families["openclaw_turns"].samples}
assert counted["completed"] >= 1, counted
print("ok")
