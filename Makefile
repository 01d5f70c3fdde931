# The steps of .ci/run, under the same names: `make install`, `make lint test`, `make all`.
.PHONY: all browser readme install test slow oldest release lint format site check_site screenshots
.DEFAULT_GOAL := test

all browser readme install test slow oldest release lint format site check_site screenshots:
	@.ci/run $@
