// Measures through node-llama-cpp's addon. Its batch calls rather than its public API: those add JavaScript and a sampler to each token.

import {getLlama, LlamaLogLevel} from "node-llama-cpp";

const CHUNK = 512; // llama-bench's default n_ubatch

export async function measure({model: modelPath, threads, runs, steps, flash, prefill: prefills, decode: decodes}) {
  const flashAttention = {auto: "auto", on: true, off: false}[flash];
  let backend = "", failure = ""; // which of the prebuilt variants was picked is told in the log and nowhere else
  const llama = await getLlama({gpu: false, build: "never", maxThreads: threads, logLevel: LlamaLogLevel.debug, logger: (level, line) => {
    backend ||= line.match(/libggml-cpu-\w+/)?.[0] ?? "";
    if (level === LlamaLogLevel.error) failure = line;
  }});

  const start = performance.now();
  const model = await llama.loadModel({modelPath, gpuLayers: 0, defaultContextFlashAttention: flashAttention});
  const vocabulary = model.fileInfo.metadata.tokenizer.ggml.tokens.length;
  const ids = count => Uint32Array.from({length: count}, () => Math.floor(Math.random() * vocabulary));
  await withContext(1, CHUNK, step => step([[0, 0, ids(1)]]));
  const load_ms = round(performance.now() - start);

  const prefill = [];
  for (const tokens of prefills)
    await withContext(1, tokens, async (step, forget) => {
      const seconds = await median(async () => {
        forget(0, 0);
        return await fill(step, 0, tokens);
      });
      prefill.push({tokens, tokens_per_second: round(tokens / seconds)});
    });

  const decode = [];
  for (const [conversations, context] of decodes)
    await withContext(conversations, context + steps, async (step, forget) => {
      const all = Array.from({length: conversations}, (_, sequence) => sequence);
      for (const sequence of all) await fill(step, sequence, context);
      const seconds = await median(async () => {
        let elapsed = 0;
        for (let i = 0; i < steps; i++) elapsed += await step(all.map(sequence => [sequence, context + i, ids(1)]));
        for (const sequence of all) forget(sequence, context);
        return elapsed;
      });
      decode.push({conversations, context, tokens_per_second: round(conversations * steps / seconds)});
    });

  return {driver: "addon", backend, system_info: llama.systemInfo.trim(), threads, load_ms, prefill, decode};

  // Runs body(step, forget) on a context of its own. step([[sequence, position, ids], ...]) decodes one batch and returns the seconds it took.
  async function withContext(sequences, contextSize, body) {
    const context = await model.createContext({sequences, contextSize, batchSize: CHUNK, threads: {ideal: threads, min: threads}, flashAttention});
    const addon = context._ctx;
    addon.setThreads(threads);
    const step = async entries => {
      addon.initBatch(entries.reduce((n, [, , tokens]) => n + tokens.length, 0));
      for (const [sequence, position, tokens] of entries) addon.addToBatch(sequence, position, tokens, Uint32Array.of(tokens.length - 1));
      const begin = performance.now();
      await addon.decodeBatch();
      return (performance.now() - begin) / 1000;
    };
    await body(step, (sequence, from) => addon.removeTokenCellsFromSequence(sequence, from, -1));
    await context.dispose();
    if (failure) throw new Error(failure);
  }

  async function fill(step, sequence, tokens) {
    let seconds = 0;
    for (let at = 0; at < tokens; at += CHUNK) seconds += await step([[sequence, at, ids(Math.min(CHUNK, tokens - at))]]);
    return seconds;
  }

  async function median(run) {
    const seconds = [];
    for (let i = -1; i < runs; i++) {
      const s = await run();
      if (i >= 0) seconds.push(s);
    }
    seconds.sort((a, b) => a - b);
    return (seconds[(runs - 1) >> 1] + seconds[runs >> 1]) / 2;
  }
}

function round(x) { return Math.round(x * 10) / 10; }
