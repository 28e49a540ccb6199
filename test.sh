#!/usr/bin/env bash
# Builds everything that this machine can restore and runs all test suites.
#   ./test.sh                 everything
#   ./test.sh Engine Cli      only suites whose name contains one of the words
# Ends with the line 'N passed, N failed, N skipped'; the exit code is 0 only if nothing failed and something ran.
set -uo pipefail
cd "$(dirname "$0")"

command -v dotnet >/dev/null || { echo "The .NET SDK 10.0 is needed: https://dot.net" >&2; exit 2; }
solution=LongCtx.Embedded.slnf
echo "Building $solution"
dotnet build "$solution" -c Release --nologo -v quiet -clp:NoSummary || { echo "The build failed."; echo "0 passed, 1 failed, 0 skipped"; exit 1; }

passed=0 failed=0 skipped=0 log=$(mktemp)
trap 'rm -f "$log"' EXIT
for project in tests/*/*.csproj; do
  name=$(basename "$project" .csproj)
  if [ $# -gt 0 ]; then
    wanted=no
    for word in "$@"; do [[ $name == *"$word"* ]] && wanted=yes; done
    [ $wanted = yes ] || continue
  fi
  started=$SECONDS
  "tests/$name/bin/Release/net10.0/$name" -noColor -noLogo -parallel none 2>&1 | tee "$log" | grep -vE '^ +(Discover|Start|Finish)' | sed '/^$/d'
  status=${PIPESTATUS[0]}
  summary=$(grep -oE 'Total: [0-9]+, Errors: [0-9]+, Failed: [0-9]+, Skipped: [0-9]+' "$log" | tail -n 1)
  if [ -z "$summary" ]; then
    echo "$name ended with exit code $status and no summary"
    failed=$((failed + 1))
    continue
  fi
  read -r total errors bad left <<<"$(grep -oE '[0-9]+' <<<"$summary" | tr '\n' ' ')"
  [ "$status" -ne 0 ] && [ $((errors + bad)) -eq 0 ] && bad=1 total=$((total + 1)) # a crash after the last test
  passed=$((passed + total - bad - left))
  failed=$((failed + bad + errors))
  skipped=$((skipped + left))
  echo "$name: $((SECONDS - started)) s"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
