// Package hold keeps runs from starting until somebody has looked: a file in the state folder, made by an operator or by a
// failure that needs one. A kill or a crash never leaves a hold. Processes may call it concurrently; the first hold stands.
package hold

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Hold is why no run may start.
type Hold struct {
	Why   string    `json:"why"`
	Since time.Time `json:"since"`
	By    string    `json:"by"` // who set it, such as "obs on pot0" or "job 7"
}

func file(dir string) string { return filepath.Join(dir, "hold") }

// Set holds all later runs. A hold that stands already stays as it is, and is returned with false.
func Set(dir, why, by string) (Hold, bool, error) {
	h := Hold{Why: why, Since: time.Now().UTC().Truncate(time.Second), By: by}
	text, err := json.Marshal(h)
	if err != nil {
		return h, false, err
	}
	// Written beside it and linked, so that a hold is never half there and never replaces another.
	draft, err := os.CreateTemp(dir, "hold.new-*")
	if err != nil {
		return h, false, fmt.Errorf("set a hold: %w", err)
	}
	defer os.Remove(draft.Name())
	_, err = draft.Write(append(text, '\n'))
	if err = errors.Join(err, draft.Chmod(0o644), draft.Sync(), draft.Close()); err != nil {
		return h, false, fmt.Errorf("set a hold: %w", err)
	}
	err = os.Link(draft.Name(), file(dir))
	if errors.Is(err, fs.ErrExist) {
		if stands, there, err := Read(dir); there || err != nil {
			return stands, false, err
		}
		return Set(dir, why, by) // it was taken away meanwhile
	}
	if err != nil {
		return h, false, fmt.Errorf("set a hold: %w", err)
	}
	return h, true, nil
}

// Read returns the hold, if there is one. A file that says nothing readable holds all the same.
func Read(dir string) (h Hold, there bool, err error) {
	text, err := os.ReadFile(file(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return h, false, nil
	}
	if err != nil {
		return h, false, fmt.Errorf("look for a hold: %w", err)
	}
	if err := json.Unmarshal(text, &h); err != nil || h.Why == "" {
		h = Hold{Why: fmt.Sprintf("%s says %.200q", file(dir), text)}
		if info, err := os.Stat(file(dir)); err == nil {
			h.Since = info.ModTime().UTC()
		}
	}
	return h, true, nil
}

// Clear lets runs start again. It returns the hold that stood, if one did.
func Clear(dir string) (h Hold, stood bool, err error) {
	h, stood, err = Read(dir)
	if err != nil || !stood {
		return h, stood, err
	}
	if err := os.Remove(file(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return h, true, fmt.Errorf("take the hold away: %w", err)
	}
	return h, true, nil
}
