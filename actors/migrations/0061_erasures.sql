-- Erasures of customers that are under way, so that a crash leaves none half done: removed with the last conversation.
-- What began at `begun_at` or before is erased. `noted` is the entry of the audit log, as JSON, that each conversation
-- is counted in.
CREATE TABLE customer_erasures (
  org_id TEXT NOT NULL,
  customer_id TEXT NOT NULL,
  begun_at BIGINT NOT NULL,
  noted TEXT NOT NULL,
  PRIMARY KEY (org_id, customer_id)
);
