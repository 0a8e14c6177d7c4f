# What a person does with hm. Everything needs Go alone, unless it says otherwise.
GO ?= go
PREFIX ?= /usr/local
# Of packages, without the v: 0.1.0; between releases, what comes after the last one.
VERSION ?= $(shell git describe --tags --match 'v[0-9]*' 2>/dev/null | sed -e 's/^v//' -e 's/-/+/' | grep . || git log -1 --format=0.0.0+%cd.%h --date=format:%Y%m%d)
ARCH ?= amd64 arm64

SHARE = $(DESTDIR)$(PREFIX)/share
BASH_COMPLETIONS = $(SHARE)/bash-completion/completions
ZSH_COMPLETIONS = $(SHARE)/zsh/site-functions
FISH_COMPLETIONS = $(SHARE)/fish/vendor_completions.d

.PHONY: deb package-test image bosh-blob release upgrade bench-scale incident migration build install test race lint fuzz bench schedules man failover members chaos chaos-broken soak year dev screenshots generate

build: ## bin/hm
	$(GO) build -o bin/hm ./cmd/hm

install: ## hm, its shell completions and man pages, to PREFIX (/usr/local), below DESTDIR if that is set
	$(GO) build -o $(DESTDIR)$(PREFIX)/bin/hm ./cmd/hm
	mkdir -p $(BASH_COMPLETIONS) $(ZSH_COMPLETIONS) $(FISH_COMPLETIONS)
	$(DESTDIR)$(PREFIX)/bin/hm completion bash > $(BASH_COMPLETIONS)/hm
	$(DESTDIR)$(PREFIX)/bin/hm completion zsh > $(ZSH_COMPLETIONS)/_hm
	$(DESTDIR)$(PREFIX)/bin/hm completion fish > $(FISH_COMPLETIONS)/hm.fish
	$(DESTDIR)$(PREFIX)/bin/hm docs man $(SHARE)/man/man1

deb: ## bin/hm_VERSION_ARCH.deb for each ARCH (amd64 arm64); see docs/install.md
	set -e; for arch in $(ARCH); do GO="$(GO)" contrib/debian/build "$(VERSION)" $$arch; done

package-test: ## the Debian package under systemd, and the scripts of the BOSH job, as root (needs systemd-container, ruby)
	CGO_ENABLED=0 $(GO) build -tags lean -o bin/hm-lean ./cmd/hm
	GO="$(GO)" contrib/debian/test bin/hm-lean
	contrib/bosh/test bin/hm-lean

image: ## a Docker image of this machine's kind, or its context in bin/image if no Docker daemon answers
	GO="$(GO)" contrib/docker/build "$(VERSION)" "$$($(GO) env GOARCH)"

bosh-blob: ## the program where the BOSH release in contrib/bosh looks for it
	CGO_ENABLED=0 GOOS=linux GOARCH=amd64 $(GO) build -trimpath -tags lean -ldflags "-s -w -X main.release=v$(VERSION)" -o contrib/bosh/src/hm/hm ./cmd/hm

man: ## a man page for each command, in bin/man
	$(GO) run ./cmd/hm docs man bin/man

test: ## all tests
	$(GO) test ./...

race: ## all tests with the race detector (needs a C compiler)
	$(GO) test -race ./...

lint: ## format, vet, staticcheck, tidy modules
	@test -z "$$(gofmt -l .)" || { echo "not gofmt'd:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff

fuzz: ## every fuzz target for FUZZTIME (10s)
	@.ci/fuzz $(or $(FUZZTIME),10s)

bench: ## every benchmark, with ratios
	$(GO) test -run '^$$' -bench . -benchtime $(or $(BENCHTIME),1s) ./...

bench-scale: ## what hm costs with N (1000000) instances on NODES (1) nodes beside a bare subscriber, in one table; minutes
	$(GO) run ./internal/scale -instances $(or $(N),1000000) -nodes $(or $(NODES),1)

release: ## bin/release: programs for linux, checksums and SBOMs of VERSION (0.1.0) from the commit COMMIT (HEAD), built twice and compared
	GO="$(GO)" contrib/release/build "$(or $(VERSION),0.0.0)" "$(or $(COMMIT),HEAD)"

upgrade: ## N (20) rolling upgrades of three nodes from the last release and back, under load; 15 minutes
	HM_TEST_UPGRADE=$(or $(N),20) $(GO) test ./cmd/hm -run '^TestRollingUpgrade' -v -count=1 -timeout 3h

failover: ## time until the next gate is open: N (20) times the leader is killed, and N times it loses NATS; 45 minutes
	HM_TEST_FAILOVER=$(or $(N),20) $(GO) test ./cmd/hm -run '^TestFailover' -v -count=1 -timeout 3h

members: ## three nodes become five and three others at 100,000 instances under churn, each killed once; 15 minutes
	HM_TEST_MEMBERS_FLEET=1 $(GO) test ./cmd/hm -run '^TestMembers$$' -v -count=1 -timeout 1h

chaos: ## the fault bench with N (1) seeds from SEED (1) on; see docs/fault-bench.md
	HM_CHAOS_SEED=$(or $(SEED),1) HM_CHAOS_N=$(or $(N),1) \
	  $(GO) test -vet=off -count=1 -timeout=0 -v -run '^TestChaos$$' ./internal/faulttest

chaos-broken: ## the fault bench against programs with a fault put in: each must be found within N (20) seeds
	HM_CHAOS_BROKEN=$(or $(N),20) \
	  $(GO) test -vet=off -count=1 -timeout=0 -v -run '^TestBrokenBuilds$$' ./internal/faulttest

soak: ## three nodes, NATS and a simulated Cloud Foundry with the race detector for MINUTES (60); see docs/soak.md
	HM_SOAK_MINUTES=$(or $(MINUTES),60) HM_CHAOS_SEED=$(or $(SEED),1) \
	  $(GO) test -vet=off -count=1 -timeout=0 -v -run '^TestSoak$$' ./internal/faulttest

year: ## DAYS (365) virtual days of churn, faults, restarts and snapshots; ten minutes of one processor; see docs/soak.md
	GOGC=400 HM_TEST_DAYS=$(or $(DAYS),365) $(GO) test -vet=off -count=1 -timeout=0 -v -run '^TestYear$$' ./internal/reconcile

schedules: ## N (1000) schedules of faults in the virtual world from FROM (0) on, or the one of SEED, or of it only FAULTS (such as 3,17)
	GOGC=400 HM_TEST_SEEDS=$(or $(N),1000) HM_TEST_FROM=$(FROM) HM_TEST_SEED=$(SEED) HM_TEST_FAULTS=$(FAULTS) $(GO) test -run '^TestChaos$$' ./internal/reconcile

dev: ## NATS, a simulated Cloud Foundry, three nodes and the live view
	$(GO) run ./cmd/hm dev

screenshots: ## docs/images, of a sandbox at work; 10 minutes (needs Debian's packages chromium and pngquant)
	rm -f docs/images/*.png
	mkdir -p docs/images
	HM_TEST_SCREENSHOTS=$(CURDIR)/docs/images $(GO) test ./internal/dashboard/browsertest -run '^TestScreenshots$$' -v -count=1 -timeout 30m

incident: ## docs/incident.md, with what real processes print; two minutes
	$(GO) run ./internal/stories incident

migration: ## docs/migration.md, with what real processes print; two minutes
	$(GO) run ./internal/stories migration

generate: ## generated code and documents (needs protoc, Debian package protobuf-compiler)
	$(GO) generate ./...
