#!/bin/sh
# Fetches llama.cpp's prebuilt CPU library with npm into node_modules (git ignores it). Nothing is built and no install script runs.
set -eu
cd "$(dirname "$0")"
[ -d node_modules/@node-llama-cpp/linux-x64 ] && exit 0
npm install --omit=optional --ignore-scripts --no-audit --no-fund --no-package-lock --loglevel=error
