-- Turns that ended with "I don't know": written with the turn's end, deleted with its conversation. The words stand in
-- `messages` alone; `likeness` is a hash of what matters in them, '' until the list is read first.
CREATE TABLE unanswered (
  conversation_id TEXT NOT NULL,
  turn_id TEXT NOT NULL,
  org_id TEXT NOT NULL,
  message_id TEXT NOT NULL,
  language TEXT,
  likeness TEXT NOT NULL,
  asked_at BIGINT NOT NULL,
  PRIMARY KEY (conversation_id, turn_id)
);
-- Like questions are counted together, by this alone.
CREATE INDEX unanswered_alike ON unanswered (org_id, likeness, turn_id, asked_at);
