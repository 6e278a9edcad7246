-- Who may use the server, what was said, and the log of what happened. SQLite and PostgreSQL take the same text.
-- Times are unix milliseconds; ids are text; '' stands for "none" where a column is part of a key.

-- One row per tenant. `settings` is the JSON of everything an organization may PATCH.
CREATE TABLE organizations (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  settings TEXT NOT NULL,
  created_at BIGINT NOT NULL
);

-- A process that writes owns one row while it lives and numbers its events contiguously, so that the order of
-- positions is the order of commits. Every commit touches the row: the epoch fences a writer that lost its lease,
-- and `commits` tells after a broken connection whether the last commit took effect.
CREATE TABLE writers (
  id BIGINT PRIMARY KEY,
  node TEXT NOT NULL,
  epoch BIGINT NOT NULL,
  position BIGINT NOT NULL,
  commits BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);

CREATE TABLE conversations (
  org_id TEXT NOT NULL,
  id TEXT NOT NULL,
  status TEXT NOT NULL,
  owner TEXT NOT NULL,
  epoch BIGINT NOT NULL,
  sequence BIGINT NOT NULL,
  version BIGINT NOT NULL,
  channel TEXT NOT NULL,
  topic TEXT,
  language TEXT,
  customer_id TEXT,
  customer_name TEXT,
  customer_email TEXT,
  metadata TEXT NOT NULL,
  started_at BIGINT NOT NULL,
  last_message_at BIGINT,
  completed_at BIGINT,
  resolution TEXT,
  rating BIGINT,
  rating_comment TEXT,
  message_count BIGINT NOT NULL,
  active_turn_id TEXT,
  PRIMARY KEY (org_id, id)
);
-- Lists, newest first, and their filters.
CREATE INDEX conversations_recent ON conversations (org_id, started_at, id);
CREATE INDEX conversations_spoken ON conversations (org_id, (COALESCE(last_message_at, started_at)), id);
-- A customer's conversations: the list's filter and erasure.
CREATE INDEX conversations_customer ON conversations (org_id, customer_id, started_at) WHERE customer_id IS NOT NULL;

-- Text is stored here and nowhere else. A message's sequence is its event's. The actor numbers them itself:
-- a duplicate means two actors believe they own the conversation, and the key turns that bug into an error.
CREATE TABLE messages (
  conversation_id TEXT NOT NULL,
  sequence BIGINT NOT NULL,
  org_id TEXT NOT NULL,
  id TEXT NOT NULL,
  role TEXT NOT NULL,
  status TEXT NOT NULL,
  content TEXT NOT NULL,
  citations TEXT NOT NULL,
  client_message_id TEXT,
  fingerprint TEXT,
  turn_id TEXT,
  confidence DOUBLE PRECISION,
  author TEXT,
  metadata TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (conversation_id, sequence)
);
-- A command that was sent twice is recognised by its message.
CREATE UNIQUE INDEX message_once ON messages (conversation_id, id);
CREATE UNIQUE INDEX client_message_once ON messages (conversation_id, client_message_id) WHERE client_message_id IS NOT NULL;

-- A turn is one attempt to answer. `detail` holds what no query asks about: usage, outcome, error, options.
CREATE TABLE turns (
  conversation_id TEXT NOT NULL,
  id TEXT NOT NULL,
  org_id TEXT NOT NULL,
  status TEXT NOT NULL,
  attempt BIGINT NOT NULL,
  message_ids TEXT NOT NULL,
  reply_id TEXT,
  retry_of TEXT,
  accepted_sequence BIGINT NOT NULL,
  ended_sequence BIGINT,
  queued_at BIGINT NOT NULL,
  started_at BIGINT,
  first_token_at BIGINT,
  completed_at BIGINT,
  detail TEXT NOT NULL,
  PRIMARY KEY (conversation_id, id)
);
-- The sweep at start: turns that a crash left open.
CREATE INDEX turns_open ON turns (conversation_id, accepted_sequence) WHERE status IN ('queued', 'running');

-- The log of everything that happened, and the outbox in one. `stream_id` is a conversation, or the organization
-- for what belongs to none.
CREATE TABLE events (
  stream_id TEXT NOT NULL,
  sequence BIGINT NOT NULL,
  writer_id BIGINT NOT NULL,
  position BIGINT NOT NULL,
  id TEXT NOT NULL,
  org_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  turn_id TEXT,
  data TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (stream_id, sequence)
);
-- Every consumer of the log reads each writer's rows in order.
CREATE UNIQUE INDEX events_in_order ON events (writer_id, position);

-- What a request with an Idempotency-Key did: references to it, never an answer's text.
CREATE TABLE idempotency (
  scope TEXT NOT NULL,
  key TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  effect TEXT NOT NULL,
  conversation_id TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (scope, key)
);
-- Rows are dropped after a day, and with their conversation.
CREATE INDEX idempotency_age ON idempotency (created_at);
CREATE INDEX idempotency_conversation ON idempotency (conversation_id) WHERE conversation_id <> '';
