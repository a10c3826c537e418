package fsmount

import "sync"

// handles are what the kernel has open, by number. It may be used concurrently.
type handles[T any] struct {
	mu   sync.Mutex
	open map[uint64]T
	last uint64
}

func (h *handles[T]) add(v T) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open == nil {
		h.open = make(map[uint64]T)
	}
	h.last++
	h.open[h.last] = v
	return h.last
}

// get returns what a number stands for; the zero value if it stands for nothing.
func (h *handles[T]) get(id uint64) T {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open[id]
}

// remove returns what a number stood for, which stands for nothing from now on.
func (h *handles[T]) remove(id uint64) T {
	h.mu.Lock()
	defer h.mu.Unlock()
	v := h.open[id]
	delete(h.open, id)
	return v
}
