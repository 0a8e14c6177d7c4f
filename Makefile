# What a person does with hm. Everything needs Go alone, unless it says otherwise.
GO ?= go
PREFIX ?= /usr/local

SHARE = $(DESTDIR)$(PREFIX)/share
BASH_COMPLETIONS = $(SHARE)/bash-completion/completions
ZSH_COMPLETIONS = $(SHARE)/zsh/site-functions
FISH_COMPLETIONS = $(SHARE)/fish/vendor_completions.d

.PHONY: incident build install test race lint fuzz bench schedules man failover chaos chaos-broken dev screenshots generate

build: ## bin/hm
	$(GO) build -o bin/hm ./cmd/hm

install: ## hm, its shell completions and man pages, to PREFIX (/usr/local), below DESTDIR if that is set
	$(GO) build -o $(DESTDIR)$(PREFIX)/bin/hm ./cmd/hm
	mkdir -p $(BASH_COMPLETIONS) $(ZSH_COMPLETIONS) $(FISH_COMPLETIONS)
	$(DESTDIR)$(PREFIX)/bin/hm completion bash > $(BASH_COMPLETIONS)/hm
	$(DESTDIR)$(PREFIX)/bin/hm completion zsh > $(ZSH_COMPLETIONS)/_hm
	$(DESTDIR)$(PREFIX)/bin/hm completion fish > $(FISH_COMPLETIONS)/hm.fish
	$(DESTDIR)$(PREFIX)/bin/hm docs man $(SHARE)/man/man1

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

failover: ## time until the next gate is open: N (20) times the leader is killed, and N times it loses NATS; 45 minutes
	HM_TEST_FAILOVER=$(or $(N),20) $(GO) test ./cmd/hm -run '^TestFailover' -v -count=1 -timeout 3h

chaos: ## the fault bench with N (1) seeds from SEED (1) on; see docs/fault-bench.md
	HM_CHAOS_SEED=$(or $(SEED),1) HM_CHAOS_N=$(or $(N),1) \
	  $(GO) test -vet=off -count=1 -timeout=0 -v -run '^TestChaos$$' ./internal/faulttest

chaos-broken: ## the fault bench against programs with a fault put in: each must be found within N (20) seeds
	HM_CHAOS_BROKEN=$(or $(N),20) \
	  $(GO) test -vet=off -count=1 -timeout=0 -v -run '^TestBrokenBuilds$$' ./internal/faulttest

schedules: ## N (1000) schedules of faults in the virtual world from FROM (0) on, or the one of SEED, or of it only FAULTS (such as 3,17)
	GOGC=400 HM_TEST_SEEDS=$(or $(N),1000) HM_TEST_FROM=$(FROM) HM_TEST_SEED=$(SEED) HM_TEST_FAULTS=$(FAULTS) $(GO) test -run '^TestChaos$$' ./internal/reconcile

dev: ## NATS, a simulated Cloud Foundry, three nodes and the live view
	$(GO) run ./cmd/hm dev

screenshots: ## docs/images, of a sandbox at work; 10 minutes (needs Debian's packages chromium and pngquant)
	rm -f docs/images/*.png
	mkdir -p docs/images
	HM_TEST_SCREENSHOTS=$(CURDIR)/docs/images $(GO) test ./internal/dashboard/browsertest -run '^TestScreenshots$$' -v -count=1 -timeout 30m

incident: ## docs/incident.md, with what real processes print; two minutes
	$(GO) run ./internal/incident

generate: ## generated code and documents (needs protoc, Debian package protobuf-compiler)
	$(GO) generate ./...
