-- Somebody accepts what a kernel costs: what came before it is no baseline any more.
ALTER TABLE boots ADD COLUMN set_aside INTEGER NOT NULL DEFAULT 0;
ALTER TABLE boots ADD COLUMN accepted TEXT;     -- JSON: who, why, when
