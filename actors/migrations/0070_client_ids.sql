-- A client's own ids of conversations: of each key its own, so that those of different programs never meet.

CREATE TABLE client_ids (
  key_id TEXT NOT NULL,
  client_id TEXT NOT NULL,
  org_id TEXT NOT NULL,
  conversation_id TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (key_id, client_id)
);
-- Erasure.
CREATE INDEX client_ids_conversation ON client_ids (conversation_id);
