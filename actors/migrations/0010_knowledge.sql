-- What answers are made of. The index that searches them lives in memory and is derived from these rows.

-- One row per article, as its author wrote it. Ids sort by time of creation, so the key also serves the list.
CREATE TABLE articles (
  org_id TEXT NOT NULL,
  id TEXT NOT NULL,
  version BIGINT NOT NULL,
  external_id TEXT,
  source TEXT,
  title TEXT NOT NULL,
  content TEXT NOT NULL,
  format TEXT NOT NULL,
  language TEXT NOT NULL,
  topic TEXT,
  url TEXT,
  metadata TEXT NOT NULL,
  published BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (org_id, id)
);
-- An article is found by the name its own system gives it, and that name is given once.
CREATE UNIQUE INDEX article_external ON articles (org_id, external_id) WHERE external_id IS NOT NULL;

-- How many writes an organization's articles have seen. Each write expects the count it knows: two processes that
-- write at once cannot both decide on the same past, and an index tells by it whether it is behind.
CREATE TABLE knowledge_heads (
  org_id TEXT PRIMARY KEY,
  head BIGINT NOT NULL
);
