package mycnf

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Parse reads an option file's text. Other sections than [client] are passed over; in that, keys that twintape does not know
// are errors, because one of them may be a misspelt one that it needs.
func Parse(text string) (Client, error) {
	c, err := parse(text)
	if err == nil && c.Database == "" {
		err = errors.New("[client] has no database: name the one that holds the ledger")
	}
	if err != nil {
		return Client{}, err
	}
	return c, nil
}

// parse is Parse of a text that need not name a database.
func parse(text string) (Client, error) {
	var c Client
	in, found := "", false
	for n, line := range strings.Split(text, "\n") {
		line = trimmed(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
			continue
		case line[0] == '!':
			return Client{}, fmt.Errorf("line %d: other files are not included: write what is needed here", n+1)
		case line[0] == '[':
			name, _, ok := strings.Cut(line[1:], "]")
			if !ok {
				return Client{}, fmt.Errorf("line %d: the section's ] is missing", n+1)
			}
			if in = strings.TrimSpace(name); in == "client" {
				found = true
			}
			continue
		case in == "":
			return Client{}, fmt.Errorf("line %d: stands before the first [section]", n+1)
		case in != "client":
			continue
		}
		if err := c.set(line); err != nil {
			return Client{}, fmt.Errorf("line %d: %w", n+1, err)
		}
	}
	switch {
	case !found:
		return Client{}, errors.New("has no [client] section")
	case c.User == "":
		return Client{}, errors.New("[client] has no user")
	}
	if c.CA != "" || c.Cert != "" || c.Key != "" || c.VerifyServer {
		c.SSL = true
	}
	if network, _ := c.Address(); c.VerifyServer && network == "unix" {
		return Client{}, errors.New("ssl-verify-server-cert needs a host: the server of a socket has no name that a certificate could hold")
	}
	return c, nil
}

// trimmed is a text without the white space around it that the servers' clients know as such.
func trimmed(s string) string { return strings.Trim(s, " \t\r\v\f") }

var (
	word  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)
	plain = regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`) // as all keys of clients are
)

// set reads one line of the section. What it cannot read it does not quote: it may be a password.
func (c *Client) set(line string) error {
	key, raw, given := strings.Cut(uncommented(line), "=")
	key = trimmed(key)
	if !word.MatchString(key) {
		return errors.New("is not key = value")
	}
	key = strings.ReplaceAll(key, "_", "-")
	value, err := unquote(trimmed(raw))
	if err != nil {
		return err
	}
	texts := map[string]*string{
		"host": &c.Host, "socket": &c.Socket, "user": &c.User, "password": &c.Password, "database": &c.Database,
		"ssl-ca": &c.CA, "ssl-cert": &c.Cert, "ssl-key": &c.Key,
	}
	if to, ok := texts[key]; ok {
		if !given {
			return fmt.Errorf("%s has no value", key)
		}
		*to = value
		return nil
	}
	switch key {
	case "port":
		port, err := strconv.Atoi(value)
		if err != nil || port < 1 || port > 65535 {
			return errors.New("port is no number from 1 to 65535")
		}
		c.Port = port
		return nil
	case "ssl":
		c.SSL, err = truth(key, value, given)
		return err
	case "ssl-verify-server-cert":
		c.VerifyServer, err = truth(key, value, given)
		return err
	}
	if !given {
		return errors.New("is not a key that twintape knows, nor key = value") // and not quoted
	}
	if !plain.MatchString(key) { // a piece of a password, perhaps
		key = "it"
	}
	return fmt.Errorf("%s is no key that twintape knows: host, port, socket, user, password, database, ssl, ssl-ca, ssl-cert, ssl-key, ssl-verify-server-cert", key)
}

func truth(key, value string, given bool) (bool, error) {
	switch strings.ToLower(value) {
	case "1", "on", "true", "yes":
		return true, nil
	case "0", "off", "false", "no":
		return false, nil
	case "":
		if !given {
			return true, nil
		}
	}
	return false, fmt.Errorf("%s is neither on nor off", key)
}

// escapes are what may follow a backslash; it stands for itself before anything else, and at the end.
var escapes = map[byte]byte{'b': '\b', 't': '\t', 'n': '\n', 'r': '\r', '\\': '\\', 's': ' ', '"': '"', '\'': '\''}

// uncommented is a line without the comment at its end. A # between quotes begins none, wherever the quotes stand.
func uncommented(line string) string {
	var quote byte
	escaped := false
	for i := 0; i < len(line); i++ {
		b := line[i]
		switch {
		case (b == '"' || b == '\'') && !escaped && (quote == 0 || quote == b):
			quote ^= b
		case b == '#' && quote == 0:
			return line[:i]
		}
		escaped = quote != 0 && b == '\\' && !escaped
	}
	return line
}

// unquote takes a value's quotes and escapes away, as the servers' clients do: quotes count as such if they are the first and the
// last of it. Where only the first is one, they would take it as it stands, which nobody means: that is an error.
func unquote(raw string) (string, error) {
	if raw != "" && (raw[0] == '"' || raw[0] == '\'') {
		quote, rest := raw[0], raw[1:]
		switch {
		case rest != "" && rest[len(rest)-1] == quote:
			raw = rest[:len(rest)-1]
		case strings.IndexByte(rest, quote) >= 0:
			return "", errors.New("something follows the closing quote")
		default:
			return "", errors.New("the closing quote is missing")
		}
	}
	var out strings.Builder
	for i := 0; i < len(raw); i++ {
		if raw[i] == '\\' && i+1 < len(raw) && escapes[raw[i+1]] != 0 {
			i++
			out.WriteByte(escapes[raw[i]])
			continue
		}
		out.WriteByte(raw[i])
		if raw[i] == '\\' && i+1 < len(raw) { // what it stands before is no escape's beginning
			i++
			out.WriteByte(raw[i])
		}
	}
	return out.String(), nil
}
