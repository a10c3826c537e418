package verify

import (
	"context"
	"errors"
	"fmt"

	"twintape/internal/paperdump"
	"twintape/internal/tape"
)

// old compares the first record of a tape of paper-dump with what the ledger says of it. Nothing else on such a tape tells
// what it is, and neither that tells it from its twin.
func (c *check) old(ctx context.Context) error {
	for n := range c.e.Sessions {
		c.sessions = append(c.sessions, &session{Session: c.e.Sessions[n]})
	}
	if err := c.d.Rewind(ctx); err != nil {
		return fmt.Errorf("rewinding: %w", err)
	}
	buf := make([]byte, max(c.e.RecordSize, paperdump.RecordSize))
	n, err := c.d.ReadRecord(ctx, buf)
	if err != nil && blameDrive(ctx, err) {
		return fmt.Errorf("the catalog: %w", err)
	}
	c.moved += int64(n)
	c.fixed += int64(n)
	c.r.BytesRead, c.r.BytesTotal = c.fixed, c.fixed
	m := Mismatch{Kind: KindIdentity}
	switch catalog, parseErr := paperdump.ParseCatalog(buf[:n]); {
	case errors.Is(err, tape.ErrShortBuffer), err == nil && parseErr != nil:
		m.Reason = fmt.Sprintf("%s holds a tape that does not begin with a catalog of paper-dump's", c.d.Name())
	case err != nil:
		m.Kind, m.Reason = KindLabel, fmt.Sprintf("the catalog in the first record is unreadable: %v", err)
	case catalog.Pair() != c.e.Pair:
		m.Expected, m.Found, m.Reason = c.e.Pair, catalog.Pair(), fmt.Sprintf("%s holds a tape of paper-dump's run %s with another catalog", c.d.Name(), catalog.PID)
	default:
		c.proven = true
		return nil
	}
	c.found(m)
	return nil
}
