package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"twintape/internal/exitcode"
	"twintape/internal/hold"
)

func newHoldCommand(a *app) *cobra.Command {
	var why string
	cmd := &cobra.Command{
		Use:   "hold --why TEXT",
		Short: "Let no run start until somebody says unhold",
		Long: "hold keeps archive and resume from starting: they end with exit code 5 and the reason. A run that is under way goes\n" +
			"on. Runs set a hold themselves when somebody must look: a tape did not give back what was written, or is not what\n" +
			"the ledger says, or a tape or drive failed twice. verify, abort, find and all that only looks are not held.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			if why == "" {
				return exitcode.With(exitcode.Usage, errors.New("--why is missing: say why, for whoever finds the hold"))
			}
			h, set, err := hold.Set(cfg.StateDir, why, thisUser())
			if err != nil {
				return err
			}
			if a.json {
				return printJSON(cmd.OutOrStdout(), h)
			}
			if !set {
				fmt.Fprintf(cmd.ErrOrStderr(), "a hold stands already, and its reason stays: %s\n", holdText(h))
				return nil
			}
			fmt.Fprintln(cmd.ErrOrStderr(), "no run starts until `twintape unhold`")
			return nil
		},
	}
	cmd.Flags().StringVar(&why, "why", "", "the reason")
	return cmd
}

func newUnholdCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "unhold",
		Short: "Let runs start again",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			h, stood, err := hold.Clear(cfg.StateDir)
			switch {
			case err != nil:
				return err
			case a.json && stood:
				return printJSON(cmd.OutOrStdout(), h)
			case a.json:
			case stood:
				fmt.Fprintf(cmd.ErrOrStderr(), "runs may start again; the hold said: %s\n", holdText(h))
			default:
				fmt.Fprintln(cmd.ErrOrStderr(), "there is no hold")
			}
			return nil
		},
	}
}

// notHeld refuses to start a run while a hold stands.
func notHeld(stateDir string) error {
	h, there, err := hold.Read(stateDir)
	if err != nil || !there {
		return err
	}
	return exitcode.With(exitcode.Held, fmt.Errorf("a hold is set: %s. When that is settled: `twintape unhold`", holdText(h)))
}

func holdText(h hold.Hold) string {
	text := h.Why
	if h.By != "" {
		text += ", by " + h.By
	}
	return text + ", since " + h.Since.Format(time.RFC3339)
}

// thisUser is who runs the command, for people.
func thisUser() string {
	name := fmt.Sprintf("user %d", os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += " on " + host
	}
	return name
}
