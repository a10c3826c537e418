package archiver

import (
	"context"
	"fmt"
)

// Labels is a list of labels beside the ledger, by which others take tapes of the same library.
type Labels interface {
	// Barred tells which of some blank tapes must not be begun, and why. It changes nothing.
	Barred(ctx context.Context, barcodes []string) (map[string]string, error)
	// Reserve takes tapes for this ledger, all or none; those that it has already stay its own. The error is a *TakenError if
	// others have one, or the list does not know it.
	Reserve(ctx context.Context, barcodes ...string) error
}

// TakenError says that a blank tape must not be begun, whatever the ledger says of it.
type TakenError struct{ Barcode, Why string }

func (e *TakenError) Error() string {
	return fmt.Sprintf("tape %s must not be begun: %s", e.Barcode, e.Why)
}

// Reserve makes blank tapes this ledger's in the list of labels, if there is one. The error is a *TakenError if that cannot be.
func (a *Archiver) Reserve(ctx context.Context, barcodes ...string) error {
	if a.Labels == nil {
		return nil
	}
	return a.Labels.Reserve(ctx, barcodes...)
}
