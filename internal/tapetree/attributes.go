package tapetree

import (
	"context"
	"errors"
	"strings"

	"twintape/internal/ledger"
	"twintape/sources"
)

// The extended attributes that tell of a file.
const (
	hostAttr  = "user.twintape.host"
	md5Attr   = "user.twintape.md5"
	tapesAttr = "user.twintape.tapes" // barcodes, separated by commas
	stateAttr = "user.twintape.state"
	whereAttr = "user.twintape.residency" // with a Recaller only
)

// online is the residency of what is on its host.
const online = "online"

// changed is the state of what is not on tape as it is now, though its item is.
const changed = "changed"

// Xattrs tells of what is on tape: its host, the state of its item, its MD5, and which tapes have a copy that counts.
func (t *Tree) Xattrs(ctx context.Context, p string) (map[string]string, error) {
	at := parse(p)
	if at.host == "" || strings.HasPrefix(at.host, ".") {
		return nil, nil
	}
	e, err := t.Ledger.Browse(ctx, at.barcode(), at.host, at.path)
	if err != nil {
		return nil, failed("getxattr", p, err)
	}
	out := map[string]string{hostAttr: at.host}
	if e.Item == 0 {
		return out, nil
	}
	good, err := t.tellItem(ctx, out, e)
	if t.Recaller != nil && err == nil && e.FileMode().IsRegular() {
		if where := t.Recaller.Residency(ctx, e, good); where != "" {
			out[whereAttr] = where
		}
	}
	return out, failed("getxattr", p, err)
}

// tellItem adds what a member's item and copies tell, and returns the barcodes of those that count.
func (t *Tree) tellItem(ctx context.Context, out map[string]string, e ledger.Browsed) (good []string, err error) {
	if !e.MD5.IsZero() && e.Bad == "" {
		out[md5Attr] = e.MD5.String()
	}
	for it, err := range t.Ledger.Items(ctx, ledger.Filter{IDs: []int64{e.Item}}) {
		if err != nil {
			return nil, err
		}
		out[stateAttr] = string(it.State)
		for _, c := range it.Copies {
			if c.Bad == "" {
				good = append(good, c.Barcode)
			}
		}
		if len(good) > 0 {
			out[tapesAttr] = strings.Join(good, ",")
		}
	}
	return good, nil
}

// HostXattrs tells of a file on its host, as it looks now, what Xattrs tells of one on tape. What was archived and is not
// the same any more, or came to its item later, is told as changed, and nothing else of it.
func (t *Tree) HostXattrs(ctx context.Context, host, p string, now sources.Info) (map[string]string, error) {
	out := map[string]string{hostAttr: host}
	if t.Recaller != nil && now.Mode.IsRegular() {
		out[whereAttr] = online
	}
	it, err := t.Ledger.ItemOver(ctx, host, p)
	if errors.Is(err, ledger.ErrNotFound) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	if len(it.Copies) == 0 { // it waits
		out[stateAttr] = string(it.State)
		return out, nil
	}
	e, err := t.Ledger.Browse(ctx, "", host, p)
	if err != nil && !errors.Is(err, ledger.ErrNotFound) {
		return nil, err
	}
	if err != nil || e.Item == 0 || t.Changed(&e.Entry, now) != nil {
		out[stateAttr] = changed
		return out, nil
	}
	_, err = t.tellItem(ctx, out, e)
	return out, err
}
