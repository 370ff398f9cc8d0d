#!/bin/sh
# Cargo's RUSTC_WRAPPER while the fuzz targets are built: `cargo xtask fuzz` chooses the packages and flags.
# The first argument is the compiler.
case ${CARGO_CRATE_NAME-} in
# Cargo's own question: its answer decides whether libFuzzer is a dependency.
'') exec "$@" --cfg=fuzzing ;;
build_script_*) exec "$@" ;;
esac
case " $COVERED " in
# The flags are words without blanks.
*" $CARGO_PKG_NAME "*) exec "$@" $COVERAGE_FLAGS ;;
*) exec "$@" ;;
esac
