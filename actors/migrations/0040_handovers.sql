-- Handovers: a person is asked for, takes over, and gives back.

-- One row per handover, written with each of its events. What an agent is shown stands in the data of the event at
-- `sequence`, the last one; `summary` is a model's, which may come later. `agent` is JSON.
CREATE TABLE handovers (
  conversation_id TEXT NOT NULL,
  id TEXT NOT NULL,
  org_id TEXT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  target TEXT,
  note TEXT,
  agent TEXT,
  requested_at BIGINT NOT NULL,
  accepted_at BIGINT,
  ended_at BIGINT,
  expires_at BIGINT,
  sequence BIGINT NOT NULL,
  summary TEXT,
  PRIMARY KEY (conversation_id, id)
);
-- A verb names the handover alone; lists, newest first.
CREATE UNIQUE INDEX handovers_of_organization ON handovers (org_id, id);
CREATE INDEX handovers_in_state ON handovers (org_id, state, id);
-- Whose time is up: found without looking at the others.
CREATE INDEX handovers_due ON handovers (expires_at) WHERE state = 'requested' AND expires_at IS NOT NULL;
-- A conversation is handed over once at a time: the key turns a bug of the actor's into an error.
CREATE UNIQUE INDEX handover_open_once ON handovers (conversation_id) WHERE state IN ('requested', 'accepted');

-- The handover that was touched last, as JSON, so that a conversation is read in one row; and how many answers in a
-- row were below the confidence line.
ALTER TABLE conversations ADD COLUMN handover TEXT;
ALTER TABLE conversations ADD COLUMN low_answers BIGINT NOT NULL DEFAULT 0;
