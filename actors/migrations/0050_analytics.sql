-- Analytics: what the log was folded into, and how far.

-- One row per conversation, without personal data: the base of every figure. It stays when a conversation is erased.
-- `first_tokens` and `answers` are how often its turns took how long, as text that only the fold reads.
CREATE TABLE conversation_facts (
  org_id TEXT NOT NULL,
  conversation_id TEXT NOT NULL,
  channel TEXT NOT NULL,
  topic TEXT,
  status TEXT NOT NULL,
  started_at BIGINT NOT NULL,
  completed_at BIGINT,
  resolution TEXT,
  rating BIGINT,
  messages BIGINT NOT NULL,
  first_message_at BIGINT,
  last_message_at BIGINT,
  handovers BIGINT NOT NULL,
  accepted BIGINT NOT NULL,
  unanswered BIGINT NOT NULL,
  first_tokens TEXT NOT NULL,
  answers TEXT NOT NULL,
  PRIMARY KEY (org_id, conversation_id)
);
-- The export, in the order of their start.
CREATE INDEX conversation_facts_started ON conversation_facts (org_id, started_at, conversation_id);

-- The time zones that an organization asked in. Cells are kept up for each. While one is being built, it has the
-- conversations up to `built_through`; afterwards `complete` is 1.
CREATE TABLE analytics_zones (
  org_id TEXT NOT NULL,
  zone TEXT NOT NULL,
  built_through TEXT NOT NULL,
  complete BIGINT NOT NULL,
  used_at BIGINT NOT NULL,
  PRIMARY KEY (org_id, zone)
);

-- What the conversations of a local day (counted from 1970-01-01), a channel and a topic ('' is none) add up to.
CREATE TABLE analytics_cells (
  org_id TEXT NOT NULL,
  zone TEXT NOT NULL,
  day BIGINT NOT NULL,
  channel TEXT NOT NULL,
  topic TEXT NOT NULL,
  tally TEXT NOT NULL,
  PRIMARY KEY (org_id, zone, day, channel, topic)
);

-- How far the log is folded: moved in the transaction of what was folded, so that nothing counts twice. The version
-- tells whether somebody else moved it, or took away what it was made of.
CREATE TABLE analytics_cursor (
  id BIGINT PRIMARY KEY,
  version BIGINT NOT NULL,
  position TEXT NOT NULL
);
INSERT INTO analytics_cursor (id, version, position) VALUES (1, 0, '0');

-- What a conversation that was erased came to, written by the erasure itself, because its events are gone. The fold
-- takes the rows with the event that says so.
CREATE TABLE erased_conversations (
  org_id TEXT NOT NULL,
  conversation_id TEXT NOT NULL,
  channel TEXT NOT NULL,
  topic TEXT,
  started_at BIGINT NOT NULL,
  completed_at BIGINT,
  resolution TEXT,
  rating BIGINT,
  messages BIGINT NOT NULL,
  first_message_at BIGINT,
  last_message_at BIGINT,
  handovers BIGINT NOT NULL,
  accepted BIGINT NOT NULL,
  unanswered BIGINT NOT NULL,
  PRIMARY KEY (org_id, conversation_id)
);
CREATE TABLE erased_turns (
  org_id TEXT NOT NULL,
  conversation_id TEXT NOT NULL,
  number BIGINT NOT NULL,
  queued_at BIGINT NOT NULL,
  first_token_at BIGINT,
  completed_at BIGINT,
  PRIMARY KEY (org_id, conversation_id, number)
);
