-- Stream tickets that were used, so that an EventSource that comes back after a restart is still known. A ticket says
-- itself whose it is; rows are dropped once it opens nothing any more.
CREATE TABLE stream_tickets (
  id TEXT PRIMARY KEY,
  org_id TEXT NOT NULL,
  made_at BIGINT NOT NULL
);
