-- One row per conversation that is not completed: when it was last seen to be active, which is never later than it was.
-- Written when it begins or is opened again, and not with each message: whoever finds one unseen for long looks.
CREATE TABLE open_conversations (
  conversation_id TEXT PRIMARY KEY,
  org_id TEXT NOT NULL,
  seen_at BIGINT NOT NULL
);
-- Those that may be idle by now, without looking at the others.
CREATE INDEX open_conversations_unseen ON open_conversations (seen_at);

INSERT INTO open_conversations (conversation_id, org_id, seen_at)
SELECT id, org_id, COALESCE(last_message_at, started_at) FROM conversations WHERE status <> 'completed';
