package house

// rule says what a package may import of ours, beside the standard library and other modules.
type rule struct {
	may []string // paths below the module; "/..." at the end means all below
	why string
}

// rules has every package. Tests may import what they like.
var rules = map[string]rule{
	"cmd/twintape": {[]string{"archiver/...", "fsmount", "internal/...", "sources/...", "verify"},
		"the command line wires everything"},

	"archiver": {[]string{"archiver/plan", "archiver/stream", "internal/catalog", "internal/digest", "internal/event", "internal/ledger",
		"internal/lock", "internal/paperdump", "internal/tape", "sources", "verify"},
		"the job brings its parts together; it knows drives and hosts as interfaces only, so that it runs the same on every kind"},
	"archiver/bridge": {[]string{"archiver", "internal/catalog", "internal/ledger", "internal/paperdata", "sources"},
		"what paper-dump's databases list is queued and taken as the job takes it, which knows nothing of them"},
	"archiver/archivertest": {[]string{"archiver", "internal/event", "internal/ledger", "internal/tape/virtual", "sources", "sources/local"}, "a small site, for any test"},
	"archiver/restore": {[]string{"archiver", "internal/catalog", "internal/digest", "internal/event", "internal/ledger", "internal/lock", "internal/paperdump", "internal/stage",
		"internal/tape"},
		"what comes back is read by the loads and the ledger of the job, and is no part of it"},
	"archiver/scan": {[]string{"archiver", "internal/catalog", "internal/digest", "internal/event", "internal/ledger", "internal/paperdump", "internal/tape"},
		"what tapes hold comes into the ledger by the loads of the job, whoever wrote it"},
	"archiver/twin": {[]string{"archiver", "internal/catalog", "internal/digest", "internal/event", "internal/ledger", "internal/tape", "verify"},
		"a new twin is read and written by the loads of the job, and judged as any tape"},
	"archiver/plan":   {[]string{"internal/catalog"}, "a plan is computed from sizes alone, so it can be tested without hosts, tapes or a ledger"},
	"archiver/stream": {[]string{"internal/catalog", "internal/digest", "internal/event", "internal/tape", "sources"}, "bytes pass from hosts to drives; what is recorded of it is the job's matter"},

	"verify": {[]string{"internal/catalog", "internal/digest", "internal/event", "internal/paperdump", "internal/tape"},
		"who checks a tape shares nothing with who wrote it but the format"},

	"fsmount": {[]string{"sources"}, "the mount is a face of the namespace, beside the job and apart from it"},

	"sources":                       {nil, "a host's tree is a matter of its own: the mount and the job build on it"},
	"sources/local":                 {[]string{"sources"}, "one kind of host knows no other"},
	"sources/nfs":                   {[]string{"sources", "sources/pool"}, "one kind of host knows no other"},
	"sources/nfs/ganeshatest":       {nil, "it starts nfs-ganesha, for any test"},
	"sources/pool":                  {[]string{"sources"}, "it knows connections as an interface only"},
	"sources/sftp":                  {[]string{"sources", "sources/pool"}, "one kind of host knows no other"},
	"sources/sftp/sftpserver":       {nil, "the server shares no code with the client that is tested against it"},
	"sources/sftp/sftpserver/serve": {[]string{"sources/sftp/sftpserver"}, "a command around the server"},
	"sources/sftp/sshdtest":         {nil, "it starts OpenSSH, for any test"},
	"sources/sourcetest":            {[]string{"sources"}, "the conformance suite knows the interface only"},

	"internal/catalog":            {[]string{"internal/digest"}, "the tape format depends on nothing that could change without it"},
	"internal/ledger":             {[]string{"internal/catalog", "internal/digest", "internal/mycnf"}, "the ledger keeps what the catalogs say, and drives nothing"},
	"internal/ledger/ledgertest":  {[]string{"internal/catalog", "internal/ledger"}, "the conformance suite knows the interface only"},
	"internal/ledger/mariadbtest": {nil, "it starts MariaDB, for any test"},
	"internal/tape":               {nil, "what a drive does is a matter of its own"},
	"internal/tape/vtl":           {[]string{"internal/tape"}, "what a SCSI unit answers depends on no kind of library, and on no kernel"},
	"internal/tape/vtl/tcmu":      {[]string{"internal/tape/vtl"}, "the kernel's side of the units knows nothing of tapes"},
	"internal/tape/scsi":          {[]string{"internal/lock", "internal/tape"}, "one kind of library knows no other"},
	"internal/tape/tapetest":      {[]string{"internal/tape"}, "the conformance suite knows the interface only"},
	"internal/tape/virtual":       {[]string{"internal/lock", "internal/tape"}, "one kind of library knows no other"},

	"internal/paperdata":               {[]string{"internal/mycnf"}, "paper-dump's databases, whoever takes what they list"},
	"internal/paperdata/paperdatatest": {[]string{"internal/ledger/mariadbtest"}, "the old paper-dump of the tests shares no code with what is tested"},

	"internal/stage":                   {[]string{"internal/digest", "internal/lock"}, "what is kept on disk does not care where it came from"},
	"internal/tapetree":                {[]string{"internal/catalog", "internal/ledger", "sources"}, "what is on tape looks like a host to whoever looks at it"},
	"internal/audit":                   {nil, "who checks a site from outside shares no code with it"},
	"internal/config":                  {nil, "the file is checked in one place, apart from what it configures"},
	"internal/digest":                  {nil, "the one place of hashing"},
	"internal/event":                   {nil, "facts that any face can show"},
	"internal/exitcode":                {nil, "what scripts rely on"},
	"internal/fault":                   {[]string{"internal/tape"}, "faults wrap the interface, whatever is behind it"},
	"internal/guest":                   {nil, "a machine for tests, whatever they test"},
	"internal/guest/run":               {[]string{"internal/guest"}, "a command around the guest"},
	"internal/hold":                    {nil, "a file that any command may look at"},
	"internal/house":                   {nil, "it only looks"},
	"internal/lock":                    {nil, "the kernel's locks"},
	"internal/mycnf":                   {nil, "an option file, and the server that it names, whoever wants it"},
	"internal/model":                   {[]string{"internal/ledger"}, "it shares the table of steps with the ledger, and nothing with the archiver"},
	"internal/paperdump":               {[]string{"internal/catalog", "internal/digest"}, "a tape format of others, apart from what is done with it"},
	"internal/paperdump/paperdumptest": {nil, "who makes the old tapes shares no code with who reads them"},
	"internal/observation":             {[]string{"internal/digest"}, "made-up input is made apart from what reads it"},
	"internal/observation/generate":    {[]string{"internal/observation"}, "a command around the generator"},
}

// testOnly are packages that only tests, and each other, may import.
var testOnly = []string{
	"archiver/archivertest",
	"internal/audit",
	"internal/fault",
	"internal/guest",
	"internal/guest/run",
	"internal/ledger/ledgertest",
	"internal/ledger/mariadbtest",
	"internal/model",
	"internal/paperdump/paperdumptest",
	"internal/paperdata/paperdatatest",
	"internal/tape/tapetest",
	"sources/nfs/ganeshatest",
	"sources/sftp/sshdtest",
	"sources/sourcetest",
}

// apart are imports from elsewhere that only some packages may have.
var apart = []struct {
	what string
	only []string
	why  string
}{
	{"github.com/sirupsen/logrus", []string{"cmd/twintape"}, "errors are returned; what is logged is logged once, at the top"},
	{"crypto/md5", []string{"internal/digest", "internal/audit"}, "hashing has one place, and who checks from outside has his own"},
	{"hash/crc32", []string{"internal/digest", "internal/audit"}, "hashing has one place, and who checks from outside has his own"},
}

// pure are packages without input and output of their own: they may not import ioPackages.
var pure = []string{"archiver/plan", "internal/catalog", "internal/digest", "internal/paperdump"}

var ioPackages = []string{"net", "os", "os/exec", "syscall", "golang.org/x/sys/unix"}
