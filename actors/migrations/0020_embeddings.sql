-- Vectors of passages, where an endpoint for embeddings is configured. They are derived from the articles: losing them
-- costs only the time to ask for them again.

-- One row per article, of the model that is asked now. `version` is the article's when its texts were looked at, and
-- `digest` is of those texts: what changes neither is not embedded again. `vectors` are in base64, because that is one
-- and the same column for both databases: for each passage a scale and `dimensions` numbers of eight bits. A version that
-- cannot be embedded has neither dimensions nor vectors, and is left alone until the article or the model changes.
CREATE TABLE embeddings (
  org_id TEXT NOT NULL,
  article_id TEXT NOT NULL,
  model TEXT NOT NULL,
  version BIGINT NOT NULL,
  digest TEXT NOT NULL,
  dimensions BIGINT NOT NULL,
  vectors TEXT NOT NULL,
  PRIMARY KEY (org_id, article_id)
);
