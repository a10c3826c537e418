-- Tapes that another program wrote, whose contents count here.

-- +goose Up

-- Who wrote the pair; empty for twintape.
ALTER TABLE pairs ADD COLUMN written_by VARCHAR(32) NOT NULL DEFAULT '';
