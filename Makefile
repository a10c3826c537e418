# `make help` lists the targets.

SHELL := /bin/bash
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo development)
FUZZTIME ?= 60s
PACKAGES := openssh-server openssh-client rsync mbuffer tar python3 gcc libc6-dev nfs-ganesha nfs-ganesha-vfs rpcbind iproute2 util-linux mariadb-server-core mariadb-client

# TWINTAPE_SKIP_SCSI=1 leaves out what needs QEMU, where it cannot be installed.
ifndef TWINTAPE_SKIP_SCSI
PACKAGES += qemu-system-x86
endif

# The packages with tests that need the kernel's tape drivers: files with the build tag "guest".
SCSI_TESTS := ./internal/tape/vtl/tcmu ./internal/tape/scsi

.PHONY: build demo drill test test-scsi torture check bench fuzz packages clean help

TORTURE ?= 25

build: ## build ./bin/twintape, static
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/twintape ./cmd/twintape

demo: ## archive made-up observations of two hosts onto a pair of virtual tapes
	@began=$$(date +%s); $(MAKE) --no-print-directory build && \
	CGO_ENABLED=0 go build -o bin/ ./internal/observation/generate ./sources/sftp/sftpserver/serve && echo "built in $$(( $$(date +%s) - began )) s"
	@./etc/demo.sh

drill: build ## archive 4,000 files over several pairs, lose the ledger, damage tapes, rebuild, restore, compare
	@rm -rf drill && PATH=$$PWD/bin:$$PATH etc/drill.sh drill 450

test: packages ## run all tests under the race detector, the longest once more without it
	CGO_ENABLED=1 go test -race -timeout 40m ./...
	$(MAKE) --no-print-directory test-scsi
	go test -timeout 20m -run 'Matrix|TestLives|TestDetection' ./archiver ./archiver/twin ./verify # whole: under the race detector they do a part

test-scsi: packages ## run the tests that need real st, sg and ch, in QEMU with Debian's kernel; TWINTAPE_SKIP_SCSI=1 leaves them out
ifdef TWINTAPE_SKIP_SCSI
	@echo "test-scsi: left out, as TWINTAPE_SKIP_SCSI says"
else
	go run ./internal/guest/run $(SCSI_TESTS)
endif

torture: ## the tests of lives and of detection, TORTURE times as long (default 25)
	TWINTAPE_TORTURE=$(TORTURE) go test -timeout 0 -v -run 'TestLives$$|TestDetection' ./archiver ./verify

check: ## format, vet, staticcheck, module file, tests
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt would change: $$unformatted"; exit 1; }
	go vet -tags guest ./...
	go tool staticcheck -tags guest ./...
	go mod tidy -diff
	$(MAKE) test

bench: PACKAGES += bindfs sshfs rclone libnfs-utils
bench: packages ## compare with mbuffer, Python's tarfile, md5sum, sftp, sshfs, rclone, bindfs and nfs-cat; see docs/performance.md
	go test -run '^$$' -bench . -benchtime 1x -timeout 60m ./archiver ./archiver/restore ./fsmount
	go test -run '^$$' -bench . -timeout 60m ./sources/... ./internal/... ./verify

fuzz: ## run each fuzzer for FUZZTIME
	@packages=$$(go list ./...) || exit 1; \
	for package in $$packages; do \
		tests=$$(go test -list '^Fuzz' "$$package") || { echo "$$tests"; exit 1; }; \
		for target in $$(grep '^Fuzz' <<<"$$tests"); do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$package" || exit 1; \
		done; \
	done

# What the tests need of Debian: installed when root, else named.
packages:
	@missing=$$(for p in $(PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ]; then \
			apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
		else echo "the tests need these packages: apt-get install" $$missing; exit 1; fi; fi

clean: ## remove what was built
	rm -rf bin demo drill

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile
