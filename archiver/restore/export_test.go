package restore

// Waiting is how many files are wanted, once those were forgotten that nobody wants any more.
func (r *Recaller) Waiting() (files, readers int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prune()
	for _, q := range r.wanted {
		readers += q.waiting
	}
	return len(r.wanted), readers
}
