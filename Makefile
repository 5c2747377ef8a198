# postbag: the whole build. `make help` lists the targets.
#   make [MODE=release|debug|asan|tsan] [CC=gcc|clang] [LINKAGE=lazy|direct]

MODE    ?= release
PREFIX  ?= /usr/local
DESTDIR ?=
CC      := $(if $(filter default,$(origin CC)),gcc,$(CC))
VERSION := $(shell cat VERSION)
B       := build/$(MODE)

# --- flags -----------------------------------------------------------------------------------------
WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
        -Wpointer-arith -Wwrite-strings -Wundef -Wformat=2 -Wno-format-nonliteral -Wcast-qual -Wno-sign-conversion
BASE := -std=c17 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DPOSTBAG_VERSION='"$(VERSION)"' -Icommon -I. \
        -fno-strict-aliasing -fno-common -pthread -ffile-prefix-map=$(CURDIR)=. -g
HARD := -fPIE -fstack-protector-strong -fstack-clash-protection -fcf-protection
HLD  := -pie -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed,--gc-sections,-z,pack-relative-relocs

ifeq ($(MODE),release)
  LINKAGE ?= lazy
  OPT := -O2 -ffunction-sections -fdata-sections -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
else ifeq ($(MODE),debug)
  LINKAGE ?= lazy
  OPT := -O0 -g3 -Werror
else ifeq ($(MODE),asan)
  LINKAGE ?= direct
  OPT := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
  HARD := -fPIE
  LDSAN := -fsanitize=address,undefined
else ifeq ($(MODE),tsan)
  LINKAGE ?= direct
  OPT := -O1 -fno-omit-frame-pointer -fsanitize=thread
  HARD := -fPIE
  LDSAN := -fsanitize=thread
else ifeq ($(MODE),fuzz)
  # For libFuzzer: `make fuzz`, or MODE=fuzz fuzz-bins.
  CC := clang
  LINKAGE ?= direct
  OPT := -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
  HARD := -fPIE
  LDSAN := -fsanitize=fuzzer,address,undefined
else
  $(error MODE is release, debug, asan, tsan or fuzz, not $(MODE))
endif

DIRECT_LIBS := -lgnutls -lcurl-gnutls -lldns -lunbound -lsqlite3 -lidn2 -lz -lresolv -lcrypt
ifeq ($(LINKAGE),direct)
  BASE += -DLINK_DIRECT
  LIBS := $(DIRECT_LIBS)
endif

CFLAGS  ?=
LDFLAGS ?=
ALL_CFLAGS  = $(BASE) $(WARN) $(OPT) $(HARD) $(CFLAGS)
ALL_LDFLAGS = -pthread $(HLD) $(LDSAN) $(LDFLAGS)

# `make V=1` shows the commands.
Q = $(if $(V),,@)
say = $(if $(V),,@printf '  %-4s %s\n' $(1) $(2))

# --- sources ---------------------------------------------------------------------------------------
COMMON  := $(sort $(wildcard common/*/*.c))
APPLETS := $(sort $(filter-out $(if $(filter debug,$(MODE)),,applets/hello.c),$(wildcard applets/*.c)))
LIBOBJ  := $(COMMON:%.c=$B/%.o)
APPOBJ  := $(APPLETS:%.c=$B/%.o)
UNIT    := $(sort $(wildcard tests/unit/*_test.c))
UNITBIN := $(UNIT:tests/unit/%.c=$B/unit/%)
FUZZ    := $(sort $(wildcard tests/fuzz/*_fuzz.c))
FUZZBIN := $(FUZZ:tests/fuzz/%.c=$B/fuzz/%)

.PHONY: all debug asan help
all: $B/postbag
debug asan:
	+$(MAKE) MODE=$@ all

# What every start runs lies together, so that it costs few page faults.
STARTOBJ := $B/applets/main.o $(patsubst %.c,$B/%.o,$(filter common/cli/% common/conf/% common/base/% common/sys/%,$(COMMON)))
$B/postbag: $(STARTOBJ) $(filter-out $(STARTOBJ),$(APPOBJ)) $B/libpostbag.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$B/libpostbag.a: $(LIBOBJ)
	@rm -f $@
	$(Q)$(AR) rcsD $@ $^

# Objects depend on a stamp that changes only when the compiler or its flags do.
$B/%.o: %.c $B/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$B/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(LIBS)' | cmp -s - $@ || \
	  echo '$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(LIBS)' > $@
FORCE:
-include $(shell find $B -name '*.d' 2>/dev/null)

# --- tests -----------------------------------------------------------------------------------------
$B/unit/%: $B/tests/unit/%.o $B/libpostbag.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(LIBS)
$B/wire/wire: $(patsubst %.c,$B/%.o,$(sort $(wildcard tests/wire/*.c))) $B/libpostbag.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)
$B/fuzz/%: $B/tests/fuzz/%.o $B/tests/fuzz/replay.o $B/libpostbag.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)
# The searching kind of a fuzz target has libFuzzer's main (MODE=fuzz).
$B/search/%: $B/tests/fuzz/%.o $B/libpostbag.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)
.SECONDARY:

.PHONY: test-bins fuzz-bins quick test test-unit test-wire test-fuzz test-bats test-peers test-crash test-imap fuzz
test-bins: $(UNITBIN) $B/wire/wire $(FUZZBIN)
fuzz-bins: $(patsubst tests/fuzz/%.c,$B/search/%,$(FUZZ))
quick: ; @tests/run.sh unit wire
test: ; @tests/deps.sh test && tests/run.sh unit wire fuzz bats peers crash
test-unit test-wire test-fuzz test-bats test-peers test-crash test-imap: ; @tests/run.sh $(@:test-%=%)
fuzz: ; @FUZZ_SECONDS=$${FUZZ_SECONDS:-60} tests/run.sh search

# --- the demonstration, and what is needed ------------------------------------------------------------
.PHONY: demo deps
demo:
	@tests/deps.sh demo
	@+$(MAKE) --no-print-directory -j$$(nproc) all
	@tests/demo.sh
deps: ; @tests/deps.sh test

# --- generated files: manual pages and completions, committed and checked ------------------------------
.PHONY: man completions check
man: $B/postbag
	@for in in man/*.in; do \
	  name=$$(basename $$in .in); \
	  $B/postbag --print-man $${name%.*} < $$in > man/$$name.new && mv man/$$name.new man/$$name || exit 1; \
	done
	@for a in $$($B/postbag --list); do [ -e man/$$a.1.in ] || $B/postbag --print-man $$a < man/default > man/$$a.1; done
completions: $B/postbag
	@for sh in bash zsh fish; do $B/postbag --print-completion $$sh > completions/postbag.$$sh || exit 1; done
check: $B/postbag ; @tests/check.sh $B/postbag

# --- install, and looking at what was built ------------------------------------------------------------
.PHONY: install uninstall dist size repro bench cov clean
BINDIR = $(DESTDIR)$(PREFIX)/bin
MANDIR = $(DESTDIR)$(PREFIX)/share/man
install: $B/postbag
	install -d $(BINDIR) $(MANDIR)/man1 $(MANDIR)/man5
	install -s -m 755 $B/postbag $(BINDIR)/postbag
	for a in imap-list mailq mx-lookup newaliases pop3-fetch queue-run sendmail smtp-probe; do \
	  ln -sf postbag $(BINDIR)/$$a; done
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/lib
	ln -sf ../bin/postbag $(DESTDIR)$(PREFIX)/sbin/sendmail
	ln -sf ../bin/postbag $(DESTDIR)$(PREFIX)/lib/sendmail
	for m in man/*.1; do n=$$(basename $$m); case $$n in postbag*) ;; *) n=postbag-$$n ;; esac; \
	  install -m 644 $$m $(MANDIR)/man1/$$n; done
	install -m 644 man/*.5 $(MANDIR)/man5/
	install -D -m 644 completions/postbag.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/postbag
	install -D -m 644 completions/postbag.zsh $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_postbag
	install -D -m 644 completions/postbag.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/postbag.fish
uninstall:
	rm -f $(BINDIR)/postbag $(MANDIR)/man1/postbag*.1 $(MANDIR)/man5/postbag*.5
dist: ; git archive --format=tar.gz --prefix=postbag-$(VERSION)/ -o build/postbag-$(VERSION).tar.gz HEAD
size: $B/postbag
	@size $B/postbag; ls -l $B/postbag | awk '{print $$5 " bytes"}'; strip -o build/stripped $B/postbag; ls -l build/stripped | awk '{print $$5 " bytes stripped"}'
	@for d in applets common/*; do [ -d $$d ] && printf '%7d %s\n' $$(cat $$d/*.[ch] $$d/*.def 2>/dev/null | wc -l) $$d; done
repro: ; @tests/repro.sh
bench: $B/postbag ; @tests/bench/run.sh $B/postbag
cov:
	+$(MAKE) MODE=asan CFLAGS='--coverage' LDFLAGS='--coverage' test-bins
	@tests/run.sh unit wire && gcov -n $$(find build/asan/common -name '*.gcda') 2>/dev/null | \
	  awk '/^Lines executed/{split($$2,a,":");n=$$4;p=a[2]+0;t+=n;c+=n*p/100}END{printf "%.1f%% of %d lines\n",100*c/t,t}'
clean: ; rm -rf build

help:
	@echo 'all debug asan         build release (default), -O0, or with sanitizers: build/MODE/postbag'
	@echo 'demo                   install what is missing, build, send a real message through the whole pipeline'
	@echo 'test                   install what is missing, then every test; ends with one line of counts'
	@echo 'quick                  unit tests and transcripts only'
	@echo 'test-{unit,wire,fuzz,bats,peers,crash}   one kind of test'
	@echo 'test-imap              many IMAP clients at random, IMAPTEST_SECONDS each (120), IMAPTEST_CLIENTS (20)'
	@echo 'fuzz                   search with libFuzzer, FUZZ_SECONDS each (60)'
	@echo 'check                  layers, headers alone, banned calls, generated files, shell scripts'
	@echo 'man completions        make the generated files again'
	@echo 'install dist size repro bench cov clean deps'
