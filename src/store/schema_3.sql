-- Format 3 of patina.db: whether a symbol is only declared where it stands (a prototype of C), its body being elsewhere.
-- Facts that were read before do not say so: the next scrape reads source files anew.
ALTER TABLE symbols ADD COLUMN declared INTEGER NOT NULL DEFAULT 0;
