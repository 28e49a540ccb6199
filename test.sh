#!/usr/bin/env bash
# Builds everything that this machine can restore and runs all test suites.
#   ./test.sh                 everything
#   ./test.sh Engine Cli      only suites whose name contains one of the words
#   ./test.sh --long          the same with 50 rounds of the kill test instead of 10, and 20 of the cluster's instead of 3; words may follow
# Ends with the line 'N passed, N failed, N skipped'; the exit code is 0 only if nothing failed and something ran.
set -uo pipefail
cd "$(dirname "$0")"
if [ "${1:-}" = --long ]; then
  export KILL_ROUNDS=50 CLUSTER_ROUNDS=20 INGEST_TOKENS=1000000
  shift
fi

command -v dotnet >/dev/null || { echo "The .NET SDK 10.0 is needed: https://dot.net" >&2; exit 2; }
solution=LongCtx.Embedded.slnf

# The Redis store works with two clients. The default one is used if its packages can be had, otherwise the older one.
default_redis=$(sed -n 's|.*<StackExchangeRedisVersion .*>\(.*\)</StackExchangeRedisVersion>.*|\1|p' Directory.Packages.props) older_redis=1.2.6
redis_artifacts() { echo "artifacts/redis-$1"; }
restores_redis() { dotnet restore src/LongCtx.Storage.Redis --nologo -v quiet -p:StackExchangeRedisVersion="$1" --artifacts-path "$(redis_artifacts "$1")" 2>&1; }
redis_missing=
if [ -z "${StackExchangeRedisVersion:-}" ]; then
  export StackExchangeRedisVersion=$default_redis
  if ! answer=$(restores_redis "$default_redis"); then
    redis_missing=$(grep -oE "(NU[0-9]+: )?Unable to find package [A-Za-z.]+[A-Za-z]" <<<"$answer" | sort -u | paste -sd ';' | sed 's/;/; /g')
    echo "StackExchange.Redis $default_redis cannot be restored here (${redis_missing:=$(tail -n 1 <<<"$answer")}): falling back to $older_redis"
    export StackExchangeRedisVersion=$older_redis
  fi
fi
echo "Building $solution"
dotnet build "$solution" -c Release --nologo -v quiet -clp:NoSummary || { echo "The build failed."; echo "0 passed, 1 failed, 0 skipped"; exit 1; }

passed=0 failed=0 skipped=0 log=$(mktemp)
trap 'rm -f "$log"' EXIT
words=("$@")
is_wanted() { # NAME
  [ ${#words[@]} -eq 0 ] && return 0
  for word in "${words[@]}"; do [[ $1 == *"$word"* ]] && return 0; done
  return 1
}
run_suite() { # NAME PROGRAM
  local name=$1 program=$2 started=$SECONDS status summary total errors bad left
  "$program" -noColor -noLogo -parallel none 2>&1 | tee "$log" | grep -vE '^ +(Discover|Start|Finish)' | sed '/^$/d'
  status=${PIPESTATUS[0]}
  summary=$(grep -oE 'Total: [0-9]+, Errors: [0-9]+, Failed: [0-9]+, Skipped: [0-9]+' "$log" | tail -n 1)
  if [ -z "$summary" ]; then
    echo "$name ended with exit code $status and no summary"
    failed=$((failed + 1))
    return
  fi
  read -r total errors bad left <<<"$(grep -oE '[0-9]+' <<<"$summary" | tr '\n' ' ')"
  [ "$status" -ne 0 ] && [ $((errors + bad)) -eq 0 ] && bad=1 total=$((total + 1)) # a crash after the last test
  passed=$((passed + total - bad - left))
  failed=$((failed + bad + errors))
  skipped=$((skipped + left))
  echo "$name: $((SECONDS - started)) s"
}
cluster_suite=LongCtx.Silo.Tests # needs packages that not every mirror has
for project in tests/*/*.csproj; do
  name=$(basename "$project" .csproj)
  [ "$name" = $cluster_suite ] && continue
  is_wanted "$name" && run_suite "$name" "tests/$name/bin/Release/net10.0/$name"
done

if is_wanted $cluster_suite; then
  if answer=$(dotnet restore tests/$cluster_suite --nologo -v quiet 2>&1); then
    if dotnet build tests/$cluster_suite -c Release --nologo -v quiet -clp:NoSummary; then
      run_suite $cluster_suite tests/$cluster_suite/bin/Release/net10.0/$cluster_suite
    else
      echo "The silo does not build"
      failed=$((failed + 1))
    fi
  else
    missing=$(grep -oE "(NU[0-9]+: )?Unable to find package [A-Za-z.]+[A-Za-z]" <<<"$answer" | sort -u | paste -sd ';' | sed 's/;/; /g')
    echo "NOT RUN: $cluster_suite, because of: ${missing:-$(tail -n 1 <<<"$answer")}"
    skipped=$((skipped + 1))
  fi
fi

redis_suite=LongCtx.Storage.Redis.Tests
if is_wanted $redis_suite; then
  if [ -n "$redis_missing" ]; then # its calls are there at least
    echo "NOT RUN: $redis_suite with StackExchange.Redis $default_redis, because of: $redis_missing. Compiling against it only."
    dotnet build src/LongCtx.Storage.Redis -c Release --nologo -v quiet -clp:NoSummary -p:StackExchangeRedisCompileOnly="$default_redis" --artifacts-path "$(redis_artifacts compile)" ||
      { echo "The Redis store does not compile against StackExchange.Redis $default_redis"; failed=$((failed + 1)); }
  elif [ "$StackExchangeRedisVersion" = "$default_redis" ] && restores_redis "$older_redis" >/dev/null; then
    if dotnet build tests/$redis_suite -c Release --nologo -v quiet -clp:NoSummary -p:StackExchangeRedisVersion="$older_redis" --artifacts-path "$(redis_artifacts "$older_redis")"; then
      run_suite "$redis_suite with StackExchange.Redis $older_redis" "$(redis_artifacts "$older_redis")/bin/$redis_suite/release/$redis_suite"
    else
      echo "The Redis store does not build with StackExchange.Redis $older_redis"
      failed=$((failed + 1))
    fi
  else
    echo "NOT RUN: $redis_suite with any other client than StackExchange.Redis $StackExchangeRedisVersion"
  fi
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
