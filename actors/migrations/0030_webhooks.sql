-- Endpoints that are told of events, what is on its way to them, and what came of it.

-- One row per endpoint. Secrets and static headers are sealed under a key that is not in this database.
-- `failing_since` is the first failure since the last success; `disabled_reason` says why we disabled it, if we did.
CREATE TABLE webhooks (
  org_id TEXT NOT NULL,
  id TEXT NOT NULL,
  url TEXT NOT NULL,
  events TEXT NOT NULL,
  channels TEXT NOT NULL,
  topics TEXT NOT NULL,
  description TEXT NOT NULL,
  enabled BIGINT NOT NULL,
  disabled_reason TEXT,
  ordered BIGINT NOT NULL,
  headers TEXT,
  secret TEXT NOT NULL,
  previous_secret TEXT,
  previous_expires_at BIGINT,
  version BIGINT NOT NULL,
  failing_since BIGINT,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (org_id, id)
);

-- Counts the changes of the table above, so that every process that makes events can tell that it must read it anew.
CREATE TABLE webhook_registry (
  id BIGINT PRIMARY KEY,
  version BIGINT NOT NULL
);
INSERT INTO webhook_registry (id, version) VALUES (1, 0);

-- The bytes that are sent: rendered once per event, in the transaction that caused it, and shared by its deliveries.
CREATE TABLE webhook_bodies (
  event_id TEXT PRIMARY KEY,
  org_id TEXT NOT NULL,
  conversation_id TEXT NOT NULL,
  body TEXT NOT NULL,
  created_at BIGINT NOT NULL
);
-- Erasure.
CREATE INDEX webhook_bodies_conversation ON webhook_bodies (conversation_id) WHERE conversation_id <> '';

-- One event on its way to one endpoint. `pending` while there is something to be done: from `next_at` on, which lies
-- in the future also while an attempt is under way (`under_way`), so that a crash leaves nothing but a wait.
CREATE TABLE webhook_deliveries (
  id TEXT PRIMARY KEY,
  org_id TEXT NOT NULL,
  webhook_id TEXT NOT NULL,
  event_id TEXT NOT NULL,
  event_type TEXT NOT NULL,
  conversation_id TEXT NOT NULL,
  sequence BIGINT NOT NULL,
  origin TEXT NOT NULL,
  state TEXT NOT NULL,
  under_way BIGINT NOT NULL,
  attempt_count BIGINT NOT NULL,
  next_at BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  settled_at BIGINT
);
-- What an endpoint has to do next.
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, next_at, id) WHERE state = 'pending';
-- Order per conversation, and erasure.
CREATE INDEX webhook_deliveries_open ON webhook_deliveries (conversation_id, webhook_id, sequence) WHERE state = 'pending';
-- Lists, newest first, and `missing`.
CREATE INDEX webhook_deliveries_recent ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_event ON webhook_deliveries (event_id, webhook_id);

-- Written before anything is sent: an attempt counts once it has started, also across a crash.
CREATE TABLE webhook_attempts (
  delivery_id TEXT NOT NULL,
  number BIGINT NOT NULL,
  org_id TEXT NOT NULL,
  started_at BIGINT NOT NULL,
  status BIGINT,
  duration_ms BIGINT,
  error TEXT,
  response_body TEXT,
  PRIMARY KEY (delivery_id, number)
);
