# SPDX-License-Identifier: MIT
# An experiment as a Makefile, ft-pipeline(7):
#
#     MODEL = base                  a model: a directory, or a .gguf file
#     DATA  = data.jsonl            records; or TRAIN, VALID and TEST when the split is given
#     include pipelines/ft.mk
#
# Then `make ft` goes from raw data to a verified, tuned model. Every step depends on contents: its inputs, its
# options and the tool itself; an unchanged output keeps its time, so what depends on it is not made again.
#
#     OUT       where everything goes (out)          FT        directory of the programs, with a slash (PATH)
#     TOKENIZE  options of ft-tokenize               SPLIT     options of ft-split
#     RECIPE    recipe file                          SET       key=value ... on top of it
#     TASKS     of ft-eval (loss,exact)              BARS      metrics that must be met: exact_match>=0.8 ...
#     THREADS   of every program (all)               MERGE     options of ft-merge

OUT     ?= out
FT      ?=
TASKS   ?= loss,exact
.DELETE_ON_ERROR:

ft_work  := $(OUT)/.ft
ft_model := $(wildcard $(filter %.gguf,$(MODEL)) $(addprefix $(MODEL)/,config.json generation_config.json *.safetensors \
              *.safetensors.index.json tokenizer.json tokenizer_config.json special_tokens_map.json chat_template.jinja *.gguf))
ft_threads := $(if $(THREADS),--threads $(THREADS))

ifeq ($(ft_model),)
$(error MODEL=$(MODEL): no model there)
endif

# $(call ft_fact,NAME,TEXT): a file that holds TEXT and changes only when TEXT does.
define ft_fact
$(ft_work)/$(1): ft-force
	@mkdir -p $(ft_work); printf '%s\n' '$(subst ','\'',$(2))' | cmp -s - $$@ || printf '%s\n' '$(subst ','\'',$(2))' > $$@
endef
# $(call ft_kept,OUTPUT,STAMP): OUTPUT is written by the rule of STAMP, which leaves it alone when it is the same.
define ft_kept
$(1): $(ft_work)/$(2) ; @:
endef

ft: ft-verify
ft-force:
.PHONY: ft ft-force ft-lint ft-tokens ft-split ft-run ft-report ft-merge ft-verify ft-clean why

ft-tokens: $(OUT)/tokens.ftok
ft-split:  $(OUT)/split/test.ftok
ft-run:    $(OUT)/run/SHA256SUMS
ft-report: $(OUT)/report/report.json
ft-merge:  $(OUT)/tuned/SHA256SUMS

$(eval $(call ft_fact,tool,$(shell $(FT)ft-train --version 2>&1 | sed 's/isa [a-z0-9]*, //')))
$(eval $(call ft_fact,tokenize.options,$(TOKENIZE)))
$(eval $(call ft_fact,split.options,$(SPLIT)))
$(eval $(call ft_fact,train.options,$(SET)))
$(eval $(call ft_fact,eval.options,$(TASKS) $(BARS)))
$(eval $(call ft_fact,merge.options,$(MERGE)))

ft-lint: $(DATA) $(TRAIN) $(VALID) $(TEST)
	$(FT)ft-lint -m $(MODEL) $^ || [ $$? -eq 1 ]

ifneq ($(TRAIN),)
# The split is given: each part is tokenized by itself.
define ft_part
$(ft_work)/$(1).stamp: $(2) $(ft_model) $(ft_work)/tool $(ft_work)/tokenize.options
	@mkdir -p $(OUT)/split
	$(FT)ft-tokenize -m $(MODEL) $(TOKENIZE) $(ft_threads) -o $(OUT)/split/$(1).ftok $(2)
	@touch $$@
endef
$(eval $(call ft_part,train,$(TRAIN)))
$(eval $(call ft_part,valid,$(VALID)))
$(eval $(call ft_part,test,$(TEST)))
$(foreach part,train valid test,$(eval $(call ft_kept,$(OUT)/split/$(part).ftok,$(part).stamp)))
else
$(ft_work)/tokens.stamp: $(DATA) $(ft_model) $(ft_work)/tool $(ft_work)/tokenize.options
	$(FT)ft-tokenize -m $(MODEL) $(TOKENIZE) $(ft_threads) -o $(OUT)/tokens.ftok $(DATA)
	@touch $@
$(eval $(call ft_kept,$(OUT)/tokens.ftok,tokens.stamp))
$(ft_work)/split.stamp: $(OUT)/tokens.ftok $(ft_work)/tool $(ft_work)/split.options
	$(FT)ft-split $(SPLIT) -o $(OUT)/split $(OUT)/tokens.ftok
	@touch $@
$(foreach part,train valid test,$(eval $(call ft_kept,$(OUT)/split/$(part).ftok,split.stamp)))
endif

# A run that was interrupted goes on from its last checkpoint; one of another recipe or other data begins anew.
$(ft_work)/run.stamp: $(OUT)/split/train.ftok $(OUT)/split/valid.ftok $(RECIPE) $(ft_model) $(ft_work)/tool $(ft_work)/train.options
	$(FT)ft-train -m $(MODEL) -t $(OUT)/split/train.ftok -v $(OUT)/split/valid.ftok $(if $(RECIPE),-r $(RECIPE)) \
	    $(foreach pair,$(SET),-s $(pair)) $(ft_threads) --resume --force -o $(OUT)/run
	@touch $@
$(eval $(call ft_kept,$(OUT)/run/SHA256SUMS,run.stamp))

$(ft_work)/report.stamp: $(OUT)/run/SHA256SUMS $(OUT)/split/test.ftok $(ft_model) $(ft_work)/tool $(ft_work)/eval.options
	$(FT)ft-eval -m $(MODEL) -a $(OUT)/run --tasks '$(TASKS)' $(ft_threads) $(foreach bar,$(BARS),--bar '$(bar)') -o $(OUT)/report $(OUT)/split/test.ftok
	@touch $@
$(eval $(call ft_kept,$(OUT)/report/report.json,report.stamp))

$(ft_work)/tuned.stamp: $(OUT)/run/SHA256SUMS $(OUT)/split/valid.ftok $(ft_model) $(ft_work)/tool $(ft_work)/merge.options
	$(FT)ft-merge -m $(MODEL) -a $(OUT)/run --probe $(OUT)/split/valid.ftok $(MERGE) $(ft_threads) -o $(OUT)/tuned
	@touch $@
$(eval $(call ft_kept,$(OUT)/tuned/SHA256SUMS,tuned.stamp))

ft-verify: $(OUT)/report/report.json $(OUT)/tuned/SHA256SUMS
	$(FT)ft-verify --quiet $(MODEL) $(if $(TRAIN),$(TRAIN) $(VALID) $(TEST) $(OUT)/split/train.ftok \
	    $(OUT)/split/valid.ftok $(OUT)/split/test.ftok,$(DATA) $(OUT)/tokens.ftok $(OUT)/split) $(OUT)/run $(OUT)/report $(OUT)/tuned
	@echo 'verified: model, data, tokens, split, run, report and tuned model agree, hash by hash'

why: ## which input makes which step run
	@$(MAKE) --no-print-directory -n --trace ft 2>/dev/null | sed -n "s/.*update target '\(.*\)' due to: \(.*\)/\1: \2/p" | \
	    grep -v 'ft-force' | sed 's|$(ft_work)/||g' || echo 'nothing to do'

ft-clean:
	rm -rf $(OUT)
