package sources

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"
)

// maxAlternatives bounds what the braces of one pattern may expand to.
const maxAlternatives = 4096

// component is one element of a pattern's path.
type component struct {
	deep    bool   // "**": any number of folders, none too
	literal bool   // text is a name as it stands
	text    string // a name, or a doublestar pattern over bytes widened by widen
}

func (c component) match(name string) bool {
	if c.deep || c.literal {
		return c.deep || c.text == name
	}
	return doublestar.MatchUnvalidated(c.text, widen(name))
}

// pattern is a set of alternatives without braces, each a list of components. Walking a tree, a state is a set of
// positions in them, so each directory is visited once however many alternatives lead there.
type pattern [][]component

// position is the next component of one alternative.
type position struct{ alt, next int }

// state is sorted and without duplicates.
type state []position

func compile(text string) (pattern, error) {
	if !doublestar.ValidatePattern(text) {
		return nil, doublestar.ErrBadPattern
	}
	alternatives, err := expandBraces(text)
	if err != nil {
		return nil, err
	}
	var p pattern
	for _, alt := range alternatives {
		if !strings.HasPrefix(alt, "/") {
			return nil, fmt.Errorf("the path is not absolute: %q", alt)
		}
		var comps []component
		for elem := range strings.SplitSeq(alt, "/") {
			switch {
			case elem == "" || elem == ".":
			case elem == "..":
				return nil, fmt.Errorf("the pattern may not hold \"..\": %q", alt)
			case elem == "**":
				if len(comps) == 0 || !comps[len(comps)-1].deep {
					comps = append(comps, component{deep: true})
				}
			case strings.ContainsAny(elem, "*?["):
				// Only a class that holds a slash can be valid as a whole and not in its parts.
				if !doublestar.ValidatePattern(elem) {
					return nil, fmt.Errorf("%w: %q", doublestar.ErrBadPattern, elem)
				}
				comps = append(comps, component{text: widen(elem)})
			default:
				comps = append(comps, component{literal: true, text: unescape(elem)})
			}
		}
		p = append(p, comps)
	}
	return p, nil
}

func (p pattern) start() state {
	var s state
	for alt := range p {
		s = p.enter(s, position{alt, 0})
	}
	return s.sorted()
}

// enter adds a position, and what "**" lets it skip to.
func (p pattern) enter(s state, pos position) state {
	s = append(s, pos)
	if comps := p[pos.alt]; pos.next < len(comps) && comps[pos.next].deep {
		s = p.enter(s, position{pos.alt, pos.next + 1})
	}
	return s
}

// step returns the state below the current one at an entry with this name; empty if nothing there can match.
func (p pattern) step(s state, name string) state {
	var next state
	for _, pos := range s {
		comps := p[pos.alt]
		if pos.next == len(comps) || !comps[pos.next].match(name) {
			continue
		}
		if comps[pos.next].deep {
			next = p.enter(next, pos)
		} else {
			next = p.enter(next, position{pos.alt, pos.next + 1})
		}
	}
	return next.sorted()
}

// accepts says whether the path that led to the state matches.
func (p pattern) accepts(s state) bool {
	return slices.ContainsFunc(s, func(pos position) bool { return pos.next == len(p[pos.alt]) })
}

// literals returns the only names that can match next, sorted; ok is false if a listing is needed to know them.
func (p pattern) literals(s state) (names []string, ok bool) {
	for _, pos := range s {
		comps := p[pos.alt]
		if pos.next == len(comps) {
			continue
		}
		if !comps[pos.next].literal {
			return nil, false
		}
		names = append(names, comps[pos.next].text)
	}
	slices.Sort(names)
	return slices.Compact(names), true
}

func (s state) sorted() state {
	slices.SortFunc(s, func(a, b position) int {
		if a.alt != b.alt {
			return a.alt - b.alt
		}
		return a.next - b.next
	})
	return slices.Compact(s)
}

// expandBraces writes out {a,b}, nested ones too. doublestar has checked that they are balanced.
func expandBraces(text string) ([]string, error) {
	open, depth, from := -1, 0, 0
	var choices []string
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++
		case c == '[':
			i = classEnd(text, i)
		case c == '{':
			if depth == 0 {
				open, from = i, i+1
			}
			depth++
		case c == ',' && depth == 1:
			choices = append(choices, text[from:i])
			from = i + 1
		case c == '}' && depth > 0:
			if depth--; depth > 0 {
				continue
			}
			var out []string
			for _, choice := range append(choices, text[from:i]) {
				more, err := expandBraces(text[:open] + choice + text[i+1:])
				if err != nil {
					return nil, err
				}
				if out = append(out, more...); len(out) > maxAlternatives {
					return nil, fmt.Errorf("the braces stand for more than %d patterns", maxAlternatives)
				}
			}
			return out, nil
		}
	}
	return []string{text}, nil
}

// classEnd returns the index of the "]" that ends the class beginning at i.
func classEnd(text string, i int) int {
	for i++; i < len(text) && text[i] != ']'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i
}

func unescape(elem string) string {
	var b strings.Builder
	for i := 0; i < len(elem); i++ {
		if elem[i] == '\\' && i+1 < len(elem) {
			i++
		}
		b.WriteByte(elem[i])
	}
	return b.String()
}

// widen gives each byte that is not part of a UTF-8 sequence a rune of its own, in the last private plane. doublestar
// would take all such bytes for the same replacement character, and \xff in a pattern would match \xfe in a name.
func widen(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			r = 0x10FE00 + rune(s[0])
		}
		b.WriteRune(r)
		s = s[n:]
	}
	return b.String()
}
