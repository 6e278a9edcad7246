-- What has become of each article in the index, and what was said of it on the organization's own stream.

-- One row per article, written with it: `pending` until the index has its version, then `indexed` or `failed`. `head`
-- is the write that made the version (see knowledge_heads), so that whoever has taken in all writes up to a head knows
-- which rows it may close; `import_id` is '' unless an import made that write.
CREATE TABLE article_states (
  org_id TEXT NOT NULL,
  article_id TEXT NOT NULL,
  version BIGINT NOT NULL,
  state TEXT NOT NULL,
  head BIGINT NOT NULL,
  written_at BIGINT NOT NULL,
  indexed_at BIGINT,
  error TEXT,
  import_id TEXT NOT NULL,
  PRIMARY KEY (org_id, article_id)
);
-- What is still to be told, and what is to be tried again: few rows, found without looking at the others.
CREATE INDEX article_states_open ON article_states (state, org_id, head) WHERE state <> 'indexed';

-- Until now a write was answered only once it was indexed.
INSERT INTO article_states (org_id, article_id, version, state, head, written_at, indexed_at, error, import_id)
SELECT org_id, id, version, 'indexed', 0, updated_at, updated_at, NULL, '' FROM articles;

-- How many events an organization's own stream has. Whoever adds some expects the count it knows: of two processes
-- that would tell the same, one does.
CREATE TABLE organization_streams (
  org_id TEXT PRIMARY KEY,
  sequence BIGINT NOT NULL
);

-- An import: what was sent in one body, and how far it came. `key_id` is '' where a command made it. `node` is the
-- process that runs it: one whose process is gone has failed. `digest` is a hash of the whole body, by which a request
-- that is sent again under its Idempotency-Key is recognised.
CREATE TABLE imports (
  org_id TEXT NOT NULL,
  id TEXT NOT NULL,
  key_id TEXT NOT NULL,
  node TEXT NOT NULL,
  state TEXT NOT NULL,
  source TEXT,
  mirror BIGINT NOT NULL,
  lines BIGINT NOT NULL,
  created BIGINT NOT NULL,
  updated BIGINT NOT NULL,
  unchanged BIGINT NOT NULL,
  deleted BIGINT NOT NULL,
  refused BIGINT NOT NULL,
  error TEXT,
  digest TEXT,
  created_at BIGINT NOT NULL,
  finished_at BIGINT,
  PRIMARY KEY (org_id, id)
);
CREATE INDEX imports_running ON imports (node) WHERE state = 'running';

-- The lines that an import refused.
CREATE TABLE import_errors (
  org_id TEXT NOT NULL,
  import_id TEXT NOT NULL,
  line BIGINT NOT NULL,
  external_id TEXT,
  code TEXT NOT NULL,
  message TEXT NOT NULL,
  PRIMARY KEY (org_id, import_id, line)
);
