// Package ledger stub
package ledger
