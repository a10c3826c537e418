// Command generate makes observations in a folder, for trying twintape out and for measuring it. It prints a line of
// JSON for each, with the md5 of its visdata, as `twintape queue add --from` reads them with --host.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"

	"twintape/internal/observation"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run() error {
	dir := flag.String("dir", "", "folder to make observations in")
	host := flag.String("host", "", "print paths as of this host: HOST:/<path below dir>")
	size := flag.String("size", "100MB", "size of one observation")
	pols := flag.String("pols", "xx,xy,yx,yy", "polarizations")
	var o observation.Options
	flag.Uint64Var(&o.Seed, "seed", 1, "other seeds make other data")
	flag.Float64Var(&o.First, "first", 2456620.16691, "Julian date of the first")
	flag.IntVar(&o.Count, "count", 4, "how many")
	flag.Parse()
	if *dir == "" || flag.NArg() > 0 {
		return fmt.Errorf("give -dir DIR, and no other arguments; see -help")
	}
	n, err := humanize.ParseBytes(*size)
	if err != nil || n > 1<<50 {
		return fmt.Errorf("-size %q: write it as 100MB", *size)
	}
	o.Bytes, o.Pols = int64(n), strings.Split(*pols, ",")
	made, err := observation.Write(*dir, o)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	for _, m := range made {
		path := m.Path
		if *host != "" {
			path = *host + ":/" + filepath.Base(m.Path)
		}
		if err := out.Encode(map[string]string{"path": path, "member": "visdata", "md5": m.VisdataMD5}); err != nil {
			return err
		}
	}
	return nil
}
