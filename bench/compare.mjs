#!/usr/bin/env node
// LongCtx against llama.cpp on this machine: same model, same threads, alternating runs, medians and ratios.
//
//   node bench/compare.mjs [--model M.gguf] [--threads 1,2] [--rounds 3] [--variants auto] [--prefill 512,2048] [--decode 1@512,2@512,16@512] [--json]
//
// Every round runs both once, LongCtx and llama.cpp taking turns, so that a slow spell of the machine hits both. --variants lists llama.cpp's
// CPU builds: auto is its own choice; name another (zen4, haswell, ...) to see it without, say, AMX, which .NET has no intrinsics for.

import {execFileSync} from "node:child_process";
import {loadavg} from "node:os";
import path from "node:path";
import {parseArgs} from "node:util";

const root = path.join(import.meta.dirname, "..");
const cli = path.join(root, "client/LongCtx.Cli");
const {values: options} = parseArgs({options: {
  model: {type: "string", default: path.join(root, "models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf")},
  threads: {type: "string", default: "1,2"},
  rounds: {type: "string", default: "3"},
  variants: {type: "string", default: "auto"},
  prefill: {type: "string", default: "512,2048"},
  decode: {type: "string", default: "1@512,2@512,16@512"},
  json: {type: "boolean", default: false},
}});
const rounds = Number(options.rounds);
if (!(Number.isInteger(rounds) && rounds > 0)) fail("--rounds takes a whole number of at least 1");
const variants = options.variants.split(",");

run(path.join(import.meta.dirname, "llama.cpp/install.sh"), []);
run("dotnet", ["build", "-c", "Release", "--nologo", "-v", "quiet", cli]);

// Both engines spin while their threads wait for each other: beside any other work the figures of several threads are worthless.
if (loadavg()[0] > 1.5) console.error(`compare.mjs: the machine is busy (load ${loadavg()[0].toFixed(1)}); the figures will be too low`);

const report = [];
for (const threads of options.threads.split(",")) {
  const common = ["--model", options.model, "--threads", threads, "--prefill", options.prefill, "--decode", options.decode, "--json"];
  const samples = {longctx: []};
  for (const variant of variants) samples[variant] = [];
  for (let round = 0; round < rounds; round++) {
    process.stderr.write(`threads ${threads}, round ${round + 1} of ${rounds}\n`);
    samples.longctx.push(measure("dotnet", ["run", "-c", "Release", "--no-build", "--project", cli, "--", "bench", ...common]));
    for (const variant of variants)
      samples[variant].push(measure("node", [path.join(import.meta.dirname, "llama.cpp/rival.mjs"), "--variant", variant, ...common]));
  }
  for (const variant of variants) report.push(table(threads, variant, samples.longctx, samples[variant]));
}
if (options.json) console.log(JSON.stringify(report));
else for (const {threads, rival, systemInfo, rows} of report) {
  console.log(`\n${threads} threads, ${rounds} rounds, LongCtx against ${rival}\n(${systemInfo})\n`);
  console.log("| | LongCtx | llama.cpp | ratio |\n| --- | ---: | ---: | ---: |");
  for (const r of rows) console.log(`| ${r.what} | ${r.longctx.toFixed(1)} | ${r.rival.toFixed(1)} | ${r.ratio.toFixed(2)} |`);
}

function table(threads, variant, ours, theirs) {
  const rows = [];
  const row = (what, pick, better) => {
    const longctx = median(ours.map(pick)), rival = median(theirs.map(pick));
    rows.push({what, longctx, rival, ratio: better === "less" ? rival / longctx : longctx / rival});
  };
  row("load, ms", r => r.load_ms, "less");
  ours[0].prefill.forEach((p, i) => row(`prefill of ${p.tokens}, tokens/s`, r => r.prefill[i].tokens_per_second));
  ours[0].decode.forEach((d, i) => row(`decode of ${d.conversations} at ${d.context}, tokens/s`, r => r.decode[i].tokens_per_second));
  // Several conversations against one: what batching alone gives each engine.
  const first = ours[0].decode.findIndex(d => d.conversations === 1);
  ours[0].decode.forEach((d, i) => {
    if (first >= 0 && i !== first) row(`decode of ${d.conversations} / decode of 1`, r => r.decode[i].tokens_per_second / r.decode[first].tokens_per_second);
  });
  const rival = `${theirs[0].engine} (${theirs[0].backend}, ${theirs[0].driver} driver, --variant ${variant})`;
  return {threads: Number(threads), rival, systemInfo: theirs[0].system_info.trim(), rows};
}

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

// The last line that is a JSON object: a tool may say something before it.
function measure(command, args) {
  const line = run(command, args).split("\n").findLast(l => l.startsWith("{"));
  return line ? JSON.parse(line) : fail(`'${command} ${args.join(" ")}' printed no JSON object`);
}

function run(command, args) {
  try {
    return execFileSync(command, args, {encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], maxBuffer: 1 << 26});
  } catch (error) {
    if (error.stdout) process.stderr.write(error.stdout);
    return fail(`'${command} ${args.join(" ")}' failed: ${error.message.split("\n")[0]}`);
  }
}

function fail(message) {
  console.error("compare.mjs: " + message);
  process.exit(2);
}
