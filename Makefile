# postbag: the whole build. `make help` lists the targets.
#   make [MODE=release|debug|asan] [CC=gcc|clang] [LINKAGE=lazy|direct]

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
HLD  := -pie -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed,--gc-sections

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
else
  $(error MODE is release, debug or asan, not $(MODE))
endif

DIRECT_LIBS := -lgnutls -lcurl-gnutls -lldns -lunbound -lsqlite3 -lidn2
ifeq ($(LINKAGE),direct)
  BASE += -DLINK_DIRECT
  LIBS := $(DIRECT_LIBS)
endif
LIBS += -lresolv -lcrypt -ldl

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

$B/postbag: $(APPOBJ) $B/libpostbag.a
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
.SECONDARY:
