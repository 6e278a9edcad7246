-- When the attempt that is under way began. Its own row is written with what came of it, so that an attempt costs one
-- row once; what makes it count, whatever dies, is `attempt_count`, which is written before anything is sent.
ALTER TABLE webhook_deliveries ADD COLUMN begun_at BIGINT;
