-- Who may use the server, and how often each key did lately.

-- One row per API key: what it may do. `scopes` are names with a space between, `allowed_origins` is a JSON array,
-- `rate_limit` is 'default', 'unlimited' or a number per minute. `version` rises with every change, so that two who
-- change a key at once notice each other; `rotations` counts the secrets it has had.
CREATE TABLE keys (
  id TEXT PRIMARY KEY,
  org_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  scopes TEXT NOT NULL,
  allowed_origins TEXT NOT NULL,
  rate_limit TEXT NOT NULL,
  expires_at BIGINT,
  last_used_at BIGINT,
  created_at BIGINT NOT NULL,
  version BIGINT NOT NULL,
  rotations BIGINT NOT NULL
);
-- An organization's keys as they are listed: ids sort by creation.
CREATE INDEX keys_of_organization ON keys (org_id, id);
-- An organization has one primary and one secondary key.
CREATE UNIQUE INDEX key_slots ON keys (org_id, kind) WHERE kind IN ('primary', 'secondary');

-- The secrets that open a key: the current one, and while its grace lasts the one that a rotation replaced. `hash`
-- is the base64 of HMAC-SHA256 under the pepper of that version, which is not in this database.
CREATE TABLE key_secrets (
  key_id TEXT NOT NULL,
  number BIGINT NOT NULL,
  org_id TEXT NOT NULL,
  pepper BIGINT NOT NULL,
  hash TEXT NOT NULL,
  masked TEXT NOT NULL,
  expires_at BIGINT,
  last_used_at BIGINT,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (key_id, number)
);

-- What shows that a process holds the pepper that the hashes were made with: a data directory without it would
-- refuse every key, and should say why instead.
CREATE TABLE peppers (
  version BIGINT PRIMARY KEY,
  proof TEXT NOT NULL
);

-- The limiter's logs as a clean stop left them, so that a restart gives no key a second helping. `admitted` is a
-- JSON array of unix milliseconds, oldest first. Written and read by the node that is named.
CREATE TABLE rate_logs (
  node TEXT NOT NULL,
  bucket TEXT NOT NULL,
  key_id TEXT NOT NULL,
  admitted TEXT NOT NULL,
  saved_at BIGINT NOT NULL,
  PRIMARY KEY (node, bucket, key_id)
);
