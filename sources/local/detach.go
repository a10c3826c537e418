package local

import "context"

// detach runs a call that the kernel may never end, and waits for it no longer than the context lasts. A result that
// nobody waits for any more goes to undo, if that is not nil.
func detach[T any](ctx context.Context, call func() (T, error), undo func(T)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if ctx.Done() == nil {
		return call()
	}
	done := make(chan outcome) // without room: either the caller takes the result, or undo does
	go func() {
		value, err := call()
		select {
		case done <- outcome{value, err}:
		case <-ctx.Done():
			if err == nil && undo != nil {
				undo(value)
			}
		}
	}()
	select {
	case out := <-done:
		return out.value, out.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}
