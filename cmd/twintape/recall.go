package main

import (
	"time"

	"twintape/archiver/restore"
	"twintape/internal/ledger"
	"twintape/internal/stage"
)

// recallIdle is how long the mount keeps a tape loaded, and the library, after the last file was read: for who reads file
// after file.
const recallIdle = 5 * time.Second

// recaller brings files off tape for the mount. At the end it stops before what it builds on is closed.
func (a *app) recaller(l *ledger.Ledger) (*restore.Recaller, error) {
	cfg := a.cfg.Mount
	s, err := stage.Open(cfg.CacheDir, cfg.CacheSize)
	if err != nil {
		return nil, err
	}
	r := restore.NewRecaller(restore.RecallConfig{
		Ledger: l, Stage: s, Timeout: cfg.RecallTimeout, Idle: recallIdle,
		Library: a.openLibrary,
		Info:    func(text string) { a.log.Info(text) }, Problem: func(text string) { a.log.Warn(text) },
	})
	a.closers = append(a.closers, s.Close, r.Close)
	return r, nil
}
