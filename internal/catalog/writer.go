package catalog

import (
	"bufio"
	"encoding/json"
	"fmt"
	"hash"
	"io"

	"twintape/internal/digest"
)

// Writer writes a session's catalog as lines of JSON. It holds no archive, so memory does not grow. It is used by one
// goroutine. After an error every further call returns the same error.
type Writer struct {
	session Session
	out     *bufio.Writer
	lines   *json.Encoder
	sum     hash.Hash
	size    counter
	end     endLine
	last    span
	err     error
}

// NewWriter begins the catalog of a session on w.
func NewWriter(w io.Writer, s Session) *Writer {
	c := &Writer{session: s, sum: digest.NewMD5(), end: endLine{kind: kind{"end"}}, last: s.before()}
	c.out = bufio.NewWriterSize(io.MultiWriter(w, c.sum, &c.size), 64<<10)
	c.lines = newLines(c.out)
	c.err = c.head()
	return c
}

func (c *Writer) head() error {
	s := &c.session
	if err := s.check(); err != nil {
		return err
	}
	if err := c.lines.Encode(s.lineOf()); err != nil {
		return err
	}
	for i := range s.Earlier {
		if err := c.lines.Encode(s.Earlier[i].lineOf()); err != nil {
			return err
		}
	}
	return nil
}

// Archive adds an archive of the session, which takes the given number of tape records. Its entries have their places.
// What is not true of a tape is refused: places that do not follow each other, a file with neither MD5 nor reason.
func (c *Writer) Archive(a *Archive, records int64) error {
	if c.err == nil {
		c.err = c.archive(a, records)
	}
	return c.err
}

func (c *Writer) archive(a *Archive, records int64) error {
	if err := c.session.checkArchive(a, records, &c.last); err != nil {
		return err
	}
	line := archiveLine{
		kind: kind{"archive"}, Number: a.Number, TapeFile: a.TapeFile, Record: a.Record, Records: records, Items: len(a.Items),
	}
	if err := c.lines.Encode(&line); err != nil {
		return err
	}
	c.end.Archives++
	for i := range a.Items {
		it := &a.Items[i]
		if err := it.writeLines(c.lines); err != nil {
			return err
		}
		c.end.Items++
		c.end.Members += int64(len(it.Entries))
	}
	return nil
}

// writeLines writes the item's lines of the catalog.
func (it *Item) writeLines(out *json.Encoder) error {
	line := itemLine{kind: kind{"item"}, ID: it.ID, Host: it.Host, Members: len(it.Entries), Bad: reason(it.Bad, maxItemReason)}
	line.Path, line.PathB64 = split(it.Path)
	if err := out.Encode(&line); err != nil {
		return err
	}
	for i := range it.Entries {
		m := it.Entries[i].lineOf()
		if err := out.Encode(&m); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the catalog and returns its length in bytes and its checksum.
func (c *Writer) Close() (int64, MD5, error) {
	if c.err == nil {
		c.err = c.lines.Encode(&c.end)
	}
	if c.err == nil {
		c.err = c.out.Flush()
	}
	if c.err != nil {
		return 0, MD5{}, c.err
	}
	c.err = fmt.Errorf("catalog of session %s: already closed", c.session.Session)
	return int64(c.size), MD5(c.sum.Sum(nil)), nil
}
