// llama.cpp measured the way `longctx bench --json` measures LongCtx. Install once with ./install.sh.
//
//   node rival.mjs --model M.gguf --threads 2 [--prefill 512,2048] [--decode 1@512,2@512,16@512] [--runs 5] [--steps 64]
//                  [--variant auto|zen4|haswell|...] [--driver auto|native|addon] [--flash auto|on|off] [--json]
//
// Both drivers use the same prebuilt CPU library out of the npm package. `native` (native.cpp, needs g++) is the fair one: it gets what
// llama-bench gets. `addon` goes through node-llama-cpp's own batch calls; on two threads its decode is far slower (RESULTS.md), so it is
// the fallback where no compiler is, and says so. --variant picks the instruction sets; auto is llama.cpp's own choice, its best for this CPU.
// Every figure is the median of --runs runs after one that is thrown away. A decode run is --steps steps; its rate is that of all conversations.

import {execFileSync} from "node:child_process";
import {existsSync, mkdirSync, readFileSync, readdirSync, statSync} from "node:fs";
import path from "node:path";
import {parseArgs} from "node:util";

const here = import.meta.dirname;
const libraries = path.join(here, "node_modules/@node-llama-cpp/linux-x64/bins/linux-x64");

const {values: options} = parseArgs({options: {
  model: {type: "string"},
  threads: {type: "string", default: "1"},
  prefill: {type: "string", default: "512,2048"},
  decode: {type: "string", default: "1@512,2@512,16@512"},
  runs: {type: "string", default: "5"},
  steps: {type: "string", default: "64"},
  variant: {type: "string", default: "auto"},
  driver: {type: "string", default: "auto"},
  flash: {type: "string", default: "auto"},
  json: {type: "boolean", default: false},
}});
if (!existsSync(libraries)) fail(`llama.cpp is not installed: run ${path.join(here, "install.sh")} (Linux x64 only)`);
if (!options.model || !existsSync(options.model)) fail(`--model must be the path of a GGUF file, not '${options.model ?? ""}'`);
const variants = readdirSync(libraries).flatMap(f => f.match(/^libggml-cpu-(.*)\.so$/)?.[1] ?? []);
if (options.variant !== "auto" && !variants.includes(options.variant)) fail(`--variant must be auto or one of ${variants.join(", ")}`);
if (!["auto", "native", "addon"].includes(options.driver)) fail("--driver must be auto, native or addon");
if (!["auto", "on", "off"].includes(options.flash)) fail("--flash must be auto, on or off");
const plan = {
  backends: options.variant === "auto" ? libraries : path.join(libraries, `libggml-cpu-${options.variant}.so`),
  model: path.resolve(options.model),
  threads: whole("--threads", options.threads),
  runs: whole("--runs", options.runs),
  steps: whole("--steps", options.steps),
  flash: options.flash,
  prefill: list(options.prefill).map(n => whole("--prefill", n)),
  decode: list(options.decode).map(d => /^\d+@\d+$/.test(d) ? d.split("@").map(n => whole("--decode", n)) : fail(`--decode takes conversations@context, not '${d}'`)),
};

const native = options.driver === "addon" ? null : compile();
if (!native && options.variant !== "auto") fail("only the native driver can choose a --variant");
const release = JSON.parse(readFileSync(path.join(here, "node_modules/node-llama-cpp/llama/llama.cpp.info.json"))).tag;
const result = {engine: "llama.cpp " + release, ...native ? runNative() : await (await import("./addon.mjs")).measure(plan)};
if (options.json) console.log(JSON.stringify(result));
else {
  console.log(`${result.engine}, ${result.driver} driver, ${result.backend}, ${plan.threads} threads, load ${result.load_ms} ms\n${result.system_info}`);
  for (const p of result.prefill) console.log(`prefill ${p.tokens}: ${p.tokens_per_second} tokens/s`);
  for (const d of result.decode) console.log(`decode ${d.conversations}@${d.context}: ${d.tokens_per_second} tokens/s`);
}
process.exit(0);

// The package carries llama.cpp's source as a git bundle; only its headers are needed. Built files stay in node_modules, which git ignores.
function compile() {
  const build = path.join(here, "node_modules/.cache/longctx-rival"), source = path.join(build, "source"), binary = path.join(build, "native");
  const code = path.join(here, "native.cpp");
  if (existsSync(binary) && statSync(binary).mtimeMs > statSync(code).mtimeMs) return binary;
  try {
    mkdirSync(build, {recursive: true});
    if (!existsSync(path.join(source, "include/llama.h")))
      execFileSync("git", ["clone", "-q", path.join(here, "node_modules/node-llama-cpp/llama/gitRelease.bundle"), source], {stdio: "pipe"});
    const shared = readdirSync(libraries).filter(f => /^lib(llama|ggml|ggml-base)(\.v[\d.]+)?\.so$/.test(f)).map(f => "-l:" + f);
    execFileSync("g++", ["-O2", "-std=c++17", "-I" + path.join(source, "include"), "-I" + path.join(source, "ggml/include"), code, "-o", binary,
      "-L" + libraries, ...shared, "-Wl,-rpath," + libraries, "-lpthread"], {stdio: "pipe"});
    return binary;
  } catch (error) {
    const reason = (error.stderr?.toString() || error.message).trim();
    if (options.driver === "native") fail("the native driver needs git and g++: " + reason);
    console.error("rival.mjs: no native driver, so decode on several threads will read too low (install git and g++): " + reason);
    return null;
  }
}

function runNative() {
  const flash = {auto: -1, off: 0, on: 1}[plan.flash];
  const output = execFileSync(native, [plan.backends, plan.model, plan.threads, plan.runs, plan.steps, flash, plan.prefill.join(","),
    plan.decode.map(d => d.join("@")).join(",")].map(String), {encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], maxBuffer: 1 << 24});
  return {driver: "native", ...JSON.parse(output)};
}

function list(text) { return text.split(",").filter(Boolean); }

function whole(name, text) {
  const n = Number(text);
  return Number.isInteger(n) && n > 0 ? n : fail(`${name} takes whole numbers of at least 1, not '${text}'`);
}

function fail(message) {
  console.error("rival.mjs: " + message);
  process.exit(2);
}
