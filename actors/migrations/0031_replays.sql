-- Events that are delivered to one endpoint once more, a few at a time.

-- `stretches` is what is left to look through; `step` grows as it shrinks, in the transaction that queues what was
-- found there. So whatever dies, nothing is queued twice and nothing left out. `filters` are the endpoint's when the
-- replay was asked for, which is what `queued` counts.
CREATE TABLE webhook_replays (
  id TEXT PRIMARY KEY,
  org_id TEXT NOT NULL,
  webhook_id TEXT NOT NULL,
  which TEXT NOT NULL,
  filters TEXT NOT NULL,
  since BIGINT NOT NULL,
  until BIGINT NOT NULL,
  queued BIGINT NOT NULL,
  stretches TEXT NOT NULL,
  step BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  ended_at BIGINT
);
-- One at a time for each endpoint: the second would not see what the first has yet to queue.
CREATE UNIQUE INDEX webhook_replays_running ON webhook_replays (webhook_id) WHERE ended_at IS NULL;

-- How much of a replay waits: it goes on when little does, so that what happens now never waits behind all of it.
CREATE INDEX webhook_deliveries_replayed ON webhook_deliveries (webhook_id) WHERE state = 'pending' AND origin = 'replay';
