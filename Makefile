# SPDX-License-Identifier: MIT
# ft: fine-tuning as a Unix pipeline. `make help` lists what can be made.
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
SHELL = /bin/sh

CC      ?= cc
ifeq ($(origin CC),default)
CC      = cc
endif
AR      ?= ar
OPT     ?= -O2
# A second compiler, sanitizer or cross build lives in its own directory: make B=build-asan SAN=address,undefined
B       ?= build
PREFIX  ?= /usr/local
DESTDIR ?=
SAN     ?=

export LC_ALL := C
# make V=1 shows whole commands
Q   := $(if $(V),,@)
say := @$(if $(V),:,printf '  %s %s\n')

# --- flags -----------------------------------------------------------------------------------------------
probe = $(shell echo 'int main(void){return 0;}' | $(CC) -Werror $(1) -x c - -o /dev/null 2>/dev/null && echo '$(1)')
# Probed once per build directory and compiler, then read back.
WARN   := -Wall -Wextra -Wformat=2 -Wconversion -Wno-sign-conversion -Wimplicit-fallthrough -Wshadow \
          -Wstrict-prototypes -Wmissing-prototypes -Werror=format-security -Werror=implicit-function-declaration
HARDEN_WANTED := -fstack-protector-strong -fstack-clash-protection -fcf-protection=full \
          -fno-strict-overflow -fno-delete-null-pointer-checks -ftrivial-auto-var-init=zero -fPIE
LDHARDEN_WANTED := -pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack
-include $(B)/flags.mk

ifneq ($(SAN),)
SANFLAGS := -fsanitize=$(SAN) -DFT_SANITIZED -fno-omit-frame-pointer -g $(if $(findstring undefined,$(SAN)),-fno-sanitize-recover=all)
else
FORTIFY  := $(if $(filter -O0,$(OPT)),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif
# The arithmetic contract needs exactly these: no contraction, no value-changing optimisation.
EXACT  := -ffp-contract=off -fno-fast-math -fexcess-precision=standard
ifneq ($(findstring clang,$(CC)),)
EXACT  := -ffp-contract=off -fno-fast-math
endif
CPPFLAGS += -Iinclude -I$(B) -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE
CFLAGS_ALL = -std=c17 $(OPT) -g $(EXACT) $(WARN) $(HARDEN) $(FORTIFY) $(SANFLAGS) $(CFLAGS)
LDFLAGS_ALL = $(LDHARDEN) $(SANFLAGS) $(LDFLAGS)
LIBS   := -lcjson -lnettle -lxxhash -lpcre2-8 -lutf8proc -lzstd -lm -lpthread

ARCH   := $(shell $(CC) -dumpmachine 2>/dev/null | cut -d- -f1)

# --- sources ---------------------------------------------------------------------------------------------
LAYERS   ?= *
LIB_SRC  := $(sort $(foreach l,$(LAYERS),$(wildcard lib/$(l)/*.c)))
ifneq ($(ARCH),x86_64)
LIB_SRC  := $(filter-out %_avx2.c %_avx512.c,$(LIB_SRC))
endif
ifneq ($(ARCH),aarch64)
LIB_SRC  := $(filter-out %_neon.c,$(LIB_SRC))
endif
LIB_OBJ  := $(LIB_SRC:%.c=$(B)/%.o)
CMD      := $(patsubst cmd/%.c,%,$(sort $(wildcard cmd/ft-*.c)))
BIN      := $(CMD:%=$(B)/bin/%)
TEST_SRC := $(sort $(wildcard tests/unit/*.c tests/kernel/*.c))
# AVX-512 through SIMDe, where that and an x86-64 are to be had.
ifneq ($(ARCH)$(wildcard /usr/include/simde/x86/avx512.h),x86_64/usr/include/simde/x86/avx512.h)
TEST_SRC := $(filter-out %_simde.c,$(TEST_SRC))
endif
TEST_BIN := $(TEST_SRC:%.c=$(B)/%)
FUZZ     := $(patsubst %.c,$(B)/%,$(filter-out %/replay.c,$(sort $(wildcard tests/fuzz/*.c))))
HELPERS  := $(patsubst %.c,$(B)/%,$(sort $(wildcard tests/helper/*.c)))
SOURCES  := $(sort $(wildcard include/ft/*.h lib/*/*.c lib/*/*.h cmd/*.c cmd/*.h))

all: $(BIN) ## build every program (default)
.PHONY: all

$(B)/flags.mk:
	@mkdir -p $(@D)
	@{ echo 'HARDEN := $(foreach f,$(HARDEN_WANTED),$(call probe,$(f)))'; \
	   echo 'LDHARDEN := $(foreach f,$(LDHARDEN_WANTED),$(call probe,$(f)))'; } > $@

# The digest of the sources, part of every provenance record.
$(B)/source_digest.h: $(SOURCES)
	@mkdir -p $(@D)
	@printf '#define FT_SOURCE_DIGEST "%s"\n' "$$(sha256sum $(SOURCES) | sha256sum | cut -c1-64)" > $@.tmp
	@cmp -s $@.tmp $@ && rm $@.tmp || mv $@.tmp $@
$(B)/lib/base/version.o: $(B)/source_digest.h
$(B)/lib/base/version.o: CPPFLAGS += -include $(B)/source_digest.h

# Kernels: speed flags per file and never for the whole program.
# Sanitizers make minutes of them: those builds keep to OPT, UBSan looks at the scalar ones and the drivers alone (what the
# variants compute is compared with these), and fuzzing leaves them out (they parse nothing).
$(B)/lib/kernel/%.o $(B)/lib/base/dtype.o: OPT_KERNEL := $(if $(filter -O0,$(OPT))$(SAN),,-O3)
ifneq ($(findstring fuzzer,$(SAN)),)
$(B)/lib/kernel/%.o: SANFLAGS :=
endif
ifneq ($(SAN),)
UNROLLED := $(if $(findstring undefined,$(SAN)),-fno-sanitize=undefined)
ifeq ($(findstring clang,$(CC)),) # checks by calls, not inline: a sixth of the time to compile
UNROLLED += -fno-var-tracking $(if $(findstring address,$(SAN)),--param asan-instrumentation-with-call-threshold=0)
endif
%_avx2.o %_avx512.o %_simde.o: SANFLAGS += $(UNROLLED)
endif
%_avx2.o:   ISA_FLAGS := -mavx2 -mfma -mf16c
%_avx512.o: ISA_FLAGS := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c -mprefer-vector-width=512
%_simde.o:  ISA_FLAGS := -mavx2 -mfma -Wno-psabi -DSIMDE_ENABLE_NATIVE_ALIASES
ifneq ($(SIMDE),) # the whole program with AVX-512 emulated on AVX2: FT_CPU=avx512 is then a choice on any machine with that
%_avx512.o: ISA_FLAGS := -mavx2 -mfma -mf16c -Wno-psabi -DSIMDE_ENABLE_NATIVE_ALIASES -include tests/kernel/simde_avx512.h
$(B)/lib/base/cpu.o: CPPFLAGS += -DFT_SIMDE
endif

$(B)/%.o: %.c $(B)/flags.mk
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(OPT_KERNEL) $(ISA_FLAGS) -MMD -MP -c -o $@ $<

$(B)/libft.a: $(LIB_OBJ)
	@rm -f $@
	$(Q)$(AR) rcsD $@ $^

$(B)/bin/%: $(B)/cmd/%.o $(B)/libft.a
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

# Preloaded by tests/fault/fault.t; sanitizers bring an allocator of their own.
$(B)/tests/fault/fault.so: tests/fault/fault.c
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(CC) -std=c17 -O1 -fPIC -shared $(WARN) -o $@ $< -ldl

# A fuzz target links with libFuzzer (make fuzz), or with a main that replays its corpus.
ifneq ($(findstring fuzzer,$(SAN)),)
FUZZ_MAIN  :=
FUZZ_LINK  := -fsanitize=fuzzer
else
FUZZ_MAIN  := $(B)/tests/fuzz/replay.o
endif
$(B)/tests/fuzz/%: $(B)/tests/fuzz/%.o $(FUZZ_MAIN) $(B)/libft.a
	$(say) LD $@
	$(Q)$(CC) $(LDFLAGS_ALL) $(FUZZ_LINK) -o $@ $^ $(LIBS)

$(B)/tests/%: $(B)/tests/%.o $(B)/libft.a
	$(say) LD $@
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

.SECONDARY:
-include $(LIB_OBJ:.o=.d) $(CMD:%=$(B)/cmd/%.d) $(TEST_BIN:=.d) $(HELPERS:=.d) $(FUZZ:=.d)

# --- tests -----------------------------------------------------------------------------------------------
CLI_TESTS := $(sort $(wildcard tests/cli/*.t tests/fault/*.t tests/golden/*.t))

tests: $(TEST_BIN) $(HELPERS) $(FUZZ) $(if $(SAN),,$(B)/tests/fault/fault.so)
check: all tests ## the quick suite (TAP through prove)
	FT_BIN=$(abspath $(B)/bin) FT_BUILD=$(abspath $(B)) prove $(PROVEFLAGS) -e '' $(TEST_BIN) $(CLI_TESTS)
check-long: $(B)/tests/kernel/elementary all tests ## what takes long: all 2^32 inputs of elementary functions, kills, a gigabyte
	FT_KILLS=10 FT_BIN=$(abspath $(B)/bin) FT_BUILD=$(abspath $(B)) prove -e '' tests/cli/train.t
	FT_STREAM_BYTES=1000000000 FT_BIN=$(abspath $(B)/bin) FT_BUILD=$(abspath $(B)) prove -v -e '' tests/cli/stream.t
	prove -v -e '' $< :: all
fuzz: deps-clang ## fuzz every parser for FUZZ_TIME seconds each (clang)
	@$(MAKE) B=build-fuzz CC=clang OPT=-O1 SAN=address,undefined,fuzzer-no-link CFLAGS=-DFT_JINJA_STEPS_MAX=100000 fuzz-run
FUZZ_TIME ?= 20
fuzz-run: $(FUZZ)
	@set -e; for f in $(FUZZ); do n=$${f##*/}; mkdir -p $(B)/corpus/$$n; echo "  FUZZ $$n"; \
	  $$f -max_total_time=$(FUZZ_TIME) -timeout=10 -rss_limit_mb=2048 -verbosity=0 \
	    -artifact_prefix=$(B)/finding-$$n- $(B)/corpus/$$n tests/fuzz/corpus/$$n; done
kernel-tests: $(filter $(B)/tests/kernel/%,$(TEST_BIN))
check-neon: ## kernels on aarch64: cross-built, under qemu-user
	@$(MAKE) --no-print-directory deps DEPS='$(ARM_TOOLS)'
	$(MAKE) B=$(B)/aarch64 CC=aarch64-linux-gnu-gcc LAYERS='base kernel' LIBS='-lm -lpthread' LDFLAGS=-static LDHARDEN= kernel-tests
	prove $(PROVEFLAGS) -e qemu-aarch64-static $(patsubst %.c,$(B)/aarch64/%,$(filter-out %_simde.c,$(wildcard tests/kernel/*.c)))
.PHONY: kernel-tests check-neon
.PHONY: tests check check-long fuzz fuzz-run

bench-gemm: $(B)/tests/bench/gemm $(B)/tests/bench/attention ## speed of matrix products (against OpenBLAS, where it is) and of attention; FILTER=S1
	$(B)/tests/bench/gemm "$(FILTER)"
	$(B)/tests/bench/attention
PYTHON ?= python3
SHARED ?= $(firstword $(wildcard $(FT_SHARED) ../shared))
bench: bench-gemm bench-generate bench-limits $(if $(SHARED),bench-tokenizer bench-real) bench-train ## all of it, PYTHON=one that has the peers
bench-train: $(BIN) $(HELPERS) $(B)/tests/bench/gemm ## training beside PyTorch; BENCH="--shapes S1,S3 --threads 2"
	$(PYTHON) tests/bench/train.py --bin $(B)/bin --make-ftok $(B)/tests/helper/make-ftok --gemm $(B)/tests/bench/gemm --out $(B)/bench $(BENCH)
bench-limits: $(BIN) $(HELPERS) ## memory, long documents, shared prompts, streaming, merging, start-up: what has no peer; LIMITS="--only stream"
	$(PYTHON) tests/bench/limits.py --bin $(B)/bin --make-ftok $(B)/tests/helper/make-ftok --out $(B)/bench $(if $(SHARED),--data $(SHARED)/data --tokenizer $(SHARED)/tokenizers/gpt2) $(LIMITS)
bench-generate: $(BIN) $(HELPERS) $(B)/tests/bench/decode ## generation beside llama.cpp (llama-cpp-python)
	$(PYTHON) tests/bench/generate.py --bin $(B)/bin --make-ftok $(B)/tests/helper/make-ftok --decode $(B)/tests/bench/decode --out $(B)/bench
MODEL ?= $(SHARED)/tokenizers/llama3
TEXT ?= $(wildcard $(SHARED)/data/gsm8k/train.jsonl $(SHARED)/data/sgd/train.jsonl) $(B)/bench/prose.txt $(B)/bench/code.txt
$(B)/bench/prose.txt: $(wildcard $(SHARED)/data/wikitext2/*.txt $(SHARED)/data/tinyshakespeare/*.txt)
	@mkdir -p $(@D) && cat $^ > $@
$(B)/bench/code.txt: $(wildcard lib/*/*.[ch] cmd/*.c tests/*/*.[ch])
	@mkdir -p $(@D) && cat $^ > $@
bench-tokenizer: $(BIN) $(filter $(B)/%,$(TEXT)) ## tokenizing beside Hugging Face's tokenizers; MODEL=a directory with tokenizer.json, TEXT=files of a megabyte or more
	$(PYTHON) tests/bench/tokenizer.py --ft $(B)/bin/ft-tokenize $(MODEL) $(TEXT)
bench-real: $(BIN) $(HELPERS) ## real records beside TRL + PEFT; SHARED=a folder with data/ and tokenizers/gpt2; REAL="--types fp32,bf16"
	$(PYTHON) tests/bench/real.py --data $(SHARED)/data --tokenizer $(SHARED)/tokenizers/gpt2 --bin $(B)/bin --out $(B)/bench $(REAL)
.PHONY: bench bench-gemm bench-generate bench-limits bench-tokenizer bench-real bench-train

check-instructions: all ## instruction counts of small workloads, within 2 % of the recorded ones (valgrind)
	FT_BIN=$(abspath $(B)/bin) tests/callgrind/count.sh
record-instructions: all
	FT_BIN=$(abspath $(B)/bin) tests/callgrind/count.sh --record
bench-decode: $(B)/tests/bench/decode ## speed of the matrix-vector product against reading memory, one thread and all
	$(B)/tests/bench/decode 0.5 1
	$(B)/tests/bench/decode 0.5
.PHONY: check-instructions record-instructions bench-decode

check-asan: ## the quick suite under AddressSanitizer and UBSan
	$(MAKE) B=build-asan SAN=address,undefined OPT=-O1 check
check-tsan: ## the quick suite under ThreadSanitizer
	$(MAKE) B=build-tsan SAN=thread OPT=-O1 check
deps-clang: ## what check-clang, check-golden and fuzz need
	@$(MAKE) --no-print-directory deps DEPS='clang libclang-rt-14-dev'
check-clang: deps-clang ## the quick suite built by clang
	$(MAKE) B=build-clang CC=clang check
golden: $(BIN) $(HELPERS)
	FT_BIN=$(abspath $(B)/bin) FT_BUILD=$(abspath $(B)) prove $(PROVEFLAGS) -e '' tests/golden/*.t
check-golden: deps-clang ## the golden hashes with gcc and clang, unoptimised and at -O3
	@set -e; for cc in gcc clang; do for opt in -O0 -O3; do echo "$$cc $$opt"; \
	  $(MAKE) --no-print-directory B=build-golden$$opt-$$cc CC=$$cc OPT=$$opt golden; done; done
check-avx512: all $(HELPERS) ## the golden hashes with AVX-512: the machine's own, or emulated on AVX2 (libsimde-dev)
	@if FT_CPU=avx512 $(B)/bin/ft-train --version | grep -q 'isa avx512'; then FT_CPU=avx512 $(MAKE) golden; \
	else FT_CPU=avx512 $(MAKE) B=build-simde SIMDE=1 golden; fi
BOCHS_TOOLS := bochs busybox-static cpio genisoimage isolinux syslinux-common
check-avx512-bochs: all $(HELPERS) ## the golden hashes with AVX-512 on a processor emulated by Bochs (slow)
	@$(MAKE) --no-print-directory deps DEPS='$(BOCHS_TOOLS)'
	FT_BIN=$(abspath $(B)/bin) FT_BUILD=$(abspath $(B)) prove -v -e '' tests/bochs/golden.t
.PHONY: check-asan check-tsan deps-clang check-clang golden check-golden check-avx512 check-avx512-bochs

# --- aarch64, cross-built and run by qemu ----------------------------------------------------------------
# The libraries are unpacked beside the build, without touching the system's package lists.
ARM      := build-arm
ARM_ROOT := $(abspath $(ARM)/root)
ARM_LIB  := $(ARM_ROOT)/usr/lib/aarch64-linux-gnu
ARM_TOOLS := gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static
ARM_DEPS := libcjson-dev libcjson1 nettle-dev libnettle8 libxxhash-dev libxxhash0 libpcre2-dev libpcre2-8-0 \
            libutf8proc-dev libutf8proc2 libzstd-dev libzstd1
ARM_APT  := apt-get -q -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State=$(ARM_ROOT)/apt \
            -o Dir::State::status=$(ARM_ROOT)/apt/status -o Dir::Cache=$(ARM_ROOT)/apt
ARM_RUN  := qemu-aarch64-static -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH=$(ARM_LIB):/usr/aarch64-linux-gnu/lib

$(ARM_ROOT)/unpacked:
	@mkdir -p $(ARM_ROOT)/apt/lists/partial $(ARM_ROOT)/apt/archives/partial && : > $(ARM_ROOT)/apt/status
	$(ARM_APT) update && cd $(ARM_ROOT)/apt && $(ARM_APT) download $(ARM_DEPS)
	for p in $(ARM_ROOT)/apt/*.deb; do dpkg-deb -x $$p $(ARM_ROOT); done
	@touch $@
deps-arm: $(ARM_ROOT)/unpacked ## what check-arm needs: cross compiler, emulator, the libraries for arm64
	@$(MAKE) --no-print-directory deps DEPS='$(ARM_TOOLS)'

# Programs as the tests call them: each a line that runs the emulator.
ARM_TESTS = tests/unit/base.c tests/unit/io.c tests/unit/model_oracle.c tests/unit/train.c tests/unit/train_oracle.c
emulated: $(BIN) $(HELPERS) $(ARM_TESTS:%.c=$(B)/%)
	@for p in $(BIN) $(HELPERS); do e=$(ARM)/emulated/$${p#$(B)/}; mkdir -p $${e%/*}; \
	  printf '#!/bin/sh\nexec $(ARM_RUN) %s "$$@"\n' "$(CURDIR)/$$p" > $$e; chmod +x $$e; done
check-arm: deps-arm ## golden hashes on aarch64, under qemu-user (check-neon: its kernels)
	$(MAKE) B=$(ARM) CC=aarch64-linux-gnu-gcc CFLAGS='-isystem $(ARM_ROOT)/usr/include' \
	  LDFLAGS='-L$(ARM_LIB) -Wl,-rpath-link,$(ARM_LIB)' emulated
	prove $(PROVEFLAGS) -e '$(ARM_RUN)' $(ARM_TESTS:%.c=$(ARM)/%)
	FT_BIN=$(abspath $(ARM)/emulated/bin) FT_BUILD=$(abspath $(ARM)/emulated) prove $(PROVEFLAGS) -e '' tests/golden/*.t
.PHONY: deps-arm emulated check-arm

DEMO := $(abspath $(B)/demo)
demo: deps ## from raw data to a verified model and a page with plots, offline
	@$(MAKE) --no-print-directory all
	@$(MAKE) --no-print-directory -C pipelines/support demo FT=$(abspath $(B)/bin)/ OUT=$(DEMO)
	@echo; echo 'The page: $(DEMO)/page.html'
.PHONY: demo

# Real peers check us: their packages live in a virtual environment of their own.
ORACLE ?= $(B)/oracle
$(ORACLE)/ready:
	python3 -m venv $(ORACLE)
	$(ORACLE)/bin/pip install -q torch==2.13.0
	$(ORACLE)/bin/pip install -q transformers peft tokenizers safetensors jinja2 numpy gguf
	touch $@
oracle: all $(ORACLE)/ready ## fixtures from PyTorch, transformers, PEFT and tokenizers, made again and compared with
	$(ORACLE)/bin/python tests/oracle/model.py && $(ORACLE)/bin/python tests/oracle/train.py && $(ORACLE)/bin/python tests/oracle/architecture.py
	$(MAKE) --no-print-directory $(B)/tests/unit/model_oracle $(B)/tests/unit/chat
	$(ORACLE)/bin/python tests/oracle/chat.py >$(ORACLE)/chat.jsonl && $(B)/tests/unit/chat $(ORACLE)/chat.jsonl
	$(ORACLE)/bin/python tests/oracle/architecture.py --root $(ORACLE)/large
	$(B)/tests/unit/model_oracle $(ORACLE)/large $$(ls $(ORACLE)/large)
	$(ORACLE)/bin/python tests/oracle/architecture.py --check $(ORACLE)/large
	$(ORACLE)/bin/python tests/oracle/adapter.py && $(ORACLE)/bin/python tests/oracle/adapter.py --root $(ORACLE)/adapters
	$(B)/tests/unit/model_oracle $(ORACLE)/adapters $$(ls $(ORACLE)/adapters)
	$(ORACLE)/bin/python tests/oracle/adapter.py --check $(ORACLE)/adapters
	$(ORACLE)/bin/python tests/oracle/gguf_blocks.py --check && $(ORACLE)/bin/python tests/oracle/gguf_peers.py --bin $(B)/bin
	$(ORACLE)/bin/python tests/oracle/tokenizer_random.py
	$(if $(SHARED),$(ORACLE)/bin/python tests/oracle/tokenizer.py --data $(SHARED)/data \
	    $(wildcard $(SHARED)/tokenizers/*) $(SHARED)/models/stories260K)
	$(MAKE) check
.PHONY: oracle

# --- installation and the rest ---------------------------------------------------------------------------
DEPS := gcc make libc6-dev libcjson-dev nettle-dev libxxhash-dev libpcre2-dev libutf8proc-dev libzstd-dev \
        libsimde-dev mandoc perl gnuplot-nox

deps: ## install what the build, the tests and the demo need (Debian packages)
	@missing=; for p in $(DEPS); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ]; then run=; elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then run=sudo; \
	else echo "please run: sudo apt-get install -y$$missing" >&2; exit 2; fi; \
	$$run apt-get update -q && $$run env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing

install: all ## install programs, man pages and pipelines under DESTDIR/PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(BIN) $(DESTDIR)$(PREFIX)/bin
	for s in 1 5 7; do set -- man/*.$$s; [ -e "$$1" ] || continue; \
	  install -d $(DESTDIR)$(PREFIX)/share/man/man$$s; install -m 644 "$$@" $(DESTDIR)$(PREFIX)/share/man/man$$s; done
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/ft
	install -m 644 cmd/ft-completion.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/ft-train
	for p in $(filter-out ft-train,$(CMD)); do ln -sf ft-train $(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$p; done
	install -m 644 pipelines/ft.mk pipelines/page.pl $(DESTDIR)$(PREFIX)/share/ft

clean: ## remove what was built
	rm -rf $(B)

help: ## this text
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n",$$1,$$2}' Makefile
.PHONY: deps install clean help
