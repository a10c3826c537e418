package main

import (
	"context"
	"errors"

	"twintape/internal/exitcode"
	"twintape/internal/ledger"
	"twintape/internal/mycnf"
)

// ledger opens the configured ledger.
func (a *app) ledger(ctx context.Context) (*ledger.Ledger, error) {
	l, err := a.openLedger(ctx, false)
	if err != nil {
		return nil, err
	}
	a.closers = append(a.closers, l.Close)
	return l, nil
}

// ledgerOrNew makes a ledger if there is none.
func (a *app) ledgerOrNew(ctx context.Context) error {
	l, err := a.openLedger(ctx, true)
	if err != nil {
		return err
	}
	return l.Close()
}

func (a *app) openLedger(ctx context.Context, orNew bool) (*ledger.Ledger, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	opt := ledger.Options{
		DeletableAfter: cfg.Verify.DeletableAfter, Lease: cfg.Ledger.Lease, Patience: cfg.Ledger.Patience,
		Waiting: func(err error) { a.log.Warnf("the ledger's database cannot be used now, waiting for it: %v", err) },
	}
	where := cfg.Ledger.Path
	open := func() (*ledger.Ledger, error) { return ledger.Open(ctx, where, opt) }
	create := func() (*ledger.Ledger, error) { return ledger.Create(ctx, where) }
	if file := cfg.Ledger.Credentials; file != "" {
		c, err := mycnf.Read(file)
		if err != nil {
			return nil, exitcode.With(exitcode.Usage, err)
		}
		where = c.String()
		open = func() (*ledger.Ledger, error) { return ledger.OpenMySQL(ctx, c, opt) }
		create = func() (*ledger.Ledger, error) { return ledger.CreateMySQL(ctx, c, opt) }
	}
	l, err := open()
	if errors.Is(err, ledger.ErrNoLedger) {
		if !orNew {
			return nil, exitcode.With(exitcode.Usage, err)
		}
		if l, err = create(); err == nil {
			a.log.Infof("there was no ledger: a new one is made at %s", where)
		}
	}
	return l, err
}
