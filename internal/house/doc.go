// Package house holds the rules of the house in its tests: which package may import which, and why.
package house
