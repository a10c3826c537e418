package main

import (
	"fmt"
	"io"

	"twintape/archiver"
	"twintape/verify"
)

func (a *app) printPlan(out io.Writer, p *archiver.DryPlan) error {
	if a.json {
		return printJSON(out, planJSON(p))
	}
	fmt.Fprintf(out, "tapes %s and %s: %s, %s of data, %s on each tape\n", p.Tapes[0], p.Tapes[1], count(len(p.Archives), "archive"),
		size(p.Bytes), size(p.OnTape))
	for _, ar := range p.Archives {
		fmt.Fprintf(out, "archive %d: tape file %d, records %d to %d, %s, %s\n", ar.Number, ar.TapeFile, ar.Record,
			ar.Record+ar.Records-1, count(len(ar.Items), "item"), size(ar.Bytes))
		for _, it := range ar.Items {
			fmt.Fprintf(out, "  %s\n", printable(it.Host+":"+it.Path))
		}
	}
	for _, f := range p.Failed {
		fmt.Fprintf(out, "cannot be archived: %s: %s\n", printable(f.Host+":"+f.Path), escaped(f.Reason))
	}
	if p.Waiting {
		fmt.Fprintln(out, "more items wait for the next pair")
	}
	return nil
}

func planJSON(p *archiver.DryPlan) map[string]any {
	archives := []map[string]any{}
	for _, ar := range p.Archives {
		items := []map[string]any{}
		for _, it := range ar.Items {
			line := map[string]any{"host": it.Host}
			putPath(line, "path", it.Path)
			items = append(items, line)
		}
		archives = append(archives, map[string]any{
			"number": ar.Number, "tape_file": ar.TapeFile, "record": ar.Record, "records": ar.Records, "bytes": ar.Bytes, "items": items,
		})
	}
	return map[string]any{
		"tapes": p.Tapes, "archives": archives, "failed": failedJSON(p.Failed), "waiting": p.Waiting, "bytes": p.Bytes, "on_tape": p.OnTape,
	}
}

func failedJSON(failed []archiver.FailedItem) []map[string]any {
	out := []map[string]any{}
	for _, f := range failed {
		line := map[string]any{"id": f.ID, "host": f.Host, "reason": f.Reason}
		putPath(line, "path", f.Path)
		out = append(out, line)
	}
	return out
}

func (a *app) printReport(out io.Writer, r *archiver.Report) error {
	if a.json {
		return printJSON(out, reportJSON(r))
	}
	fmt.Fprintf(out, "job %d: %s", r.Job.ID, r.Job.Step)
	if r.Job.Tapes[0] != "" {
		fmt.Fprintf(out, ", tapes %s and %s", r.Job.Tapes[0], r.Job.Tapes[1])
	}
	fmt.Fprintf(out, "\n  %s with %s flushed onto both tapes", count(r.Archived, "item"), size(r.Bytes))
	if r.Written > 0 {
		fmt.Fprintf(out, ", written in %s (%s of data onto each)", took(r.Written), rate(r.Bytes, r.Written))
	}
	fmt.Fprintln(out)
	if r.Lost != "" {
		fmt.Fprintf(out, "  %s on one tape alone: it went on without %s\n", count(r.Single, "item"), r.Lost)
	}
	switch {
	case r.Verified == 0:
	case r.Lost != "":
		fmt.Fprintf(out, "  the tape reloaded and read back, in %s\n", took(r.Verified))
	default:
		fmt.Fprintf(out, "  both tapes reloaded and read back at the same time, in %s\n", took(r.Verified))
	}
	for _, t := range r.Tapes {
		if t != nil {
			printVerified(out, t)
		}
	}
	for _, f := range r.Failed {
		fmt.Fprintf(out, "not archived, stays queued: %s: %s\n", printable(f.Host+":"+f.Path), escaped(f.Reason))
	}
	for _, s := range nextSteps(r) {
		fmt.Fprintf(out, "next: %s\n", s)
	}
	return nil
}

// nextSteps are what the operator may want to do after a job.
func nextSteps(r *archiver.Report) []string {
	var steps []string
	sampled := false
	for _, t := range r.Tapes {
		switch {
		case t == nil:
		case len(t.Mismatches) > 0:
			steps = append(steps, fmt.Sprintf("keep the originals: no copy on %s counts; look at drive and cartridge, then `twintape verify --full %[1]s`", t.Barcode))
		case t.Good && t.BytesRead < t.BytesTotal:
			sampled = true
		}
	}
	if sampled && r.Good() {
		steps = append(steps, fmt.Sprintf("a sample was read; `twintape verify --full %s %s` reads everything", r.Job.Tapes[0], r.Job.Tapes[1]))
	}
	if r.Lost != "" {
		steps = append(steps, fmt.Sprintf("keep the originals: what has one copy needs a new twin in place of %s; `twintape copies` lists it", r.Lost))
	}
	if len(r.Failed) > 0 {
		steps = append(steps, "mend what the failed items' reasons say, then `twintape archive` again; or `twintape queue rm` them")
	}
	if r.Waiting {
		steps = append(steps, "more items wait for the next pair: `twintape archive` again, or with --all")
	}
	return steps
}

func reportJSON(r *archiver.Report) map[string]any {
	tapes := []*verify.Report{}
	for _, t := range r.Tapes {
		if t != nil {
			tapes = append(tapes, t)
		}
	}
	line := map[string]any{
		"job": jobJSON(r.Job), "archived": r.Archived, "single": r.Single, "bytes": r.Bytes, "failed": failedJSON(r.Failed), "waiting": r.Waiting,
		"written_seconds": r.Written.Seconds(), "verified_seconds": r.Verified.Seconds(), "tapes": tapes, "good": r.Good(),
	}
	if r.Lost != "" {
		line["lost"] = r.Lost
	}
	return line
}

// printVerified prints what one tape's check read and found.
func printVerified(out io.Writer, r *verify.Report) {
	fmt.Fprint(out, r)
	fmt.Fprintf(out, "  read at %s\n", rate(r.BytesRead, r.Ended.Sub(r.Began)))
}
