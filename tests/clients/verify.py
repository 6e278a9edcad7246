"""Verifies deliveries with the libraries that receivers use, unchanged.

Reads one JSON object per line, {"secret", "headers", "body"}, and answers each with one that says of every library
whether it took the delivery: {"standardwebhooks": true, "svix": true}.
"""

import json
import sys

import standardwebhooks
import svix

LIBRARIES = {
    "standardwebhooks": (standardwebhooks.Webhook, standardwebhooks.WebhookVerificationError),
    "svix": (svix.Webhook, svix.WebhookVerificationError),
}


def takes(library, delivery):
    webhook, refusal = LIBRARIES[library]
    try:
        webhook(delivery["secret"]).verify(delivery["body"].encode(), delivery["headers"])
        return True
    except refusal:
        return False


for line in sys.stdin:
    delivery = json.loads(line)
    print(json.dumps({library: takes(library, delivery) for library in LIBRARIES}), flush=True)
