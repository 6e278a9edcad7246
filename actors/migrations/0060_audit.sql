-- Who did what to keys, webhooks, handovers and people's words.

-- One row per deed, written in its transaction. No secret and no text of a conversation stands here; a customer is a
-- keyed hash. `count` is how many conversations a deed erased that may take many transactions; each of them adds to it.
-- Ids sort by time, so the key also serves the dropping of what is old.
CREATE TABLE audit_log (
  id TEXT PRIMARY KEY,
  org_id TEXT NOT NULL,
  action TEXT NOT NULL,
  actor_type TEXT NOT NULL,
  actor_id TEXT,
  actor_name TEXT,
  target_type TEXT NOT NULL,
  target_id TEXT,
  count BIGINT,
  created_at BIGINT NOT NULL
);
-- The list, and what was done to one thing.
CREATE INDEX audit_log_recent ON audit_log (org_id, id);
CREATE INDEX audit_log_target ON audit_log (org_id, target_id, id) WHERE target_id IS NOT NULL;
