// Times llama.cpp's prebuilt library without JavaScript in between: native BACKENDS MODEL THREADS RUNS STEPS FLASH PREFILL DECODE.
//
// It does what llama-bench does, a thread pool of its own included, and agrees with it. BACKENDS is the folder of the libraries or one libggml-cpu-*.so.
// A timed region holds llama_decode and llama_synchronize and nothing else, over made-up token ids, as in llama-bench.
// stderr is llama.cpp's warnings and errors; stdout is one JSON object.

#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "llama.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

static const int CHUNK = 512; // llama-bench's default n_ubatch

[[noreturn]] static void fail(const std::string & message) {
    fprintf(stderr, "native: %s\n", message.c_str());
    exit(2);
}

static double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Rival {
    llama_model * model;
    llama_context * context = nullptr;
    ggml_threadpool_t pool = nullptr;
    llama_batch batch = llama_batch_init(CHUNK, 0, 1);
    std::mt19937 random{42};
    int threads, runs, steps;
    llama_flash_attn_type flash;

    // One context for `sequences` sequences of `length` tokens each.
    void open(int sequences, int length) {
        llama_context_params p = llama_context_default_params();
        p.n_ctx = (uint32_t) sequences * ((length + 255) / 256 * 256);
        p.n_batch = p.n_ubatch = CHUNK;
        p.n_seq_max = sequences;
        p.n_threads = p.n_threads_batch = threads;
        p.flash_attn_type = flash;
        context = llama_init_from_model(model, p);
        if (!context) fail("llama.cpp could not create a context for " + std::to_string(sequences) + " sequences of " + std::to_string(length) + " tokens");
        llama_attach_threadpool(context, pool, nullptr);
    }

    void close() {
        llama_detach_threadpool(context);
        llama_free(context);
    }

    void add(int sequence, int position, bool logits) {
        const int i = batch.n_tokens++;
        batch.token[i] = random() % llama_vocab_n_tokens(llama_model_get_vocab(model));
        batch.pos[i] = position;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = sequence;
        batch.logits[i] = logits;
    }

    double decode() {
        const double start = now();
        if (llama_decode(context, batch) != 0) fail("llama_decode refused a batch");
        llama_synchronize(context);
        const double seconds = now() - start;
        batch.n_tokens = 0;
        return seconds;
    }

    double fill(int sequence, int tokens) {
        double seconds = 0;
        for (int at = 0; at < tokens; at++) {
            add(sequence, at, at == tokens - 1);
            if (batch.n_tokens == CHUNK || at == tokens - 1) seconds += decode();
        }
        return seconds;
    }

    double median(const std::function<double()> & run) const {
        run(); // warm-up
        std::vector<double> seconds;
        for (int i = 0; i < runs; i++) seconds.push_back(run());
        std::sort(seconds.begin(), seconds.end());
        return (seconds[(runs - 1) / 2] + seconds[runs / 2]) / 2;
    }

    double prefill_rate(int tokens) {
        open(1, tokens);
        const double seconds = median([&] {
            llama_memory_clear(llama_get_memory(context), false);
            return fill(0, tokens);
        });
        close();
        return tokens / seconds;
    }

    double decode_rate(int sequences, int length) {
        open(sequences, length + steps);
        for (int s = 0; s < sequences; s++) fill(s, length);
        const double seconds = median([&] {
            double elapsed = 0;
            for (int i = 0; i < steps; i++) {
                for (int s = 0; s < sequences; s++) add(s, length + i, true);
                elapsed += decode();
            }
            for (int s = 0; s < sequences; s++) llama_memory_seq_rm(llama_get_memory(context), s, length, -1);
            return elapsed;
        });
        close();
        return sequences * steps / seconds;
    }
};

static std::vector<std::string> split(const std::string & text, char separator) {
    std::vector<std::string> parts;
    std::stringstream stream(text);
    for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
    return parts;
}

// Which of the prebuilt variants was picked is told in the log and nowhere else.
static std::string backend;

static void note(ggml_log_level level, const char * text, void *) {
    const std::string line = text;
    const size_t at = line.find("libggml-cpu-");
    if (at != std::string::npos) backend = line.substr(at, line.find(".so", at) - at);
    if (level >= GGML_LOG_LEVEL_WARN && level != GGML_LOG_LEVEL_CONT) fputs(text, stderr);
}

int main(int argc, char ** argv) {
    if (argc != 9) fail("takes 8 arguments: BACKENDS MODEL THREADS RUNS STEPS FLASH PREFILL DECODE");
    const double start = now();
    llama_log_set(note, nullptr);
    if (std::filesystem::is_directory(argv[1])) ggml_backend_load_all_from_path(argv[1]);
    else if (!ggml_backend_load(argv[1])) fail(std::string("this machine cannot use ") + argv[1]);
    llama_backend_init();

    Rival rival;
    rival.threads = atoi(argv[3]);
    rival.runs = atoi(argv[4]);
    rival.steps = atoi(argv[5]);
    rival.flash = (llama_flash_attn_type) atoi(argv[6]);
    llama_model_params mp = llama_model_default_params();
    mp.n_gpu_layers = 0;
    rival.model = llama_model_load_from_file(argv[2], mp);
    if (!rival.model) fail(std::string("llama.cpp cannot load ") + argv[2]);

    // The functions of the CPU backend live in the library that was picked at run time.
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    if (!cpu) fail(std::string("no CPU backend in ") + argv[1]);
    auto * pool_new = (decltype(ggml_threadpool_new) *) ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(cpu), "ggml_threadpool_new");
    ggml_threadpool_params tp = ggml_threadpool_params_default(rival.threads);
    rival.pool = pool_new(&tp);
    if (!rival.pool) fail("llama.cpp could not start " + std::to_string(rival.threads) + " threads");

    rival.open(1, CHUNK);
    rival.fill(0, 1);
    rival.close();
    printf("{\"backend\":\"%s\",\"system_info\":\"%s\",\"threads\":%d,\"load_ms\":%.1f,\"prefill\":[", backend.c_str(), llama_print_system_info(), rival.threads, (now() - start) * 1000);
    const char * comma = "";
    for (const auto & tokens : split(argv[7], ',')) {
        printf("%s{\"tokens\":%s,\"tokens_per_second\":%.1f}", comma, tokens.c_str(), rival.prefill_rate(stoi(tokens)));
        comma = ",";
    }
    printf("],\"decode\":[");
    comma = "";
    for (const auto & point : split(argv[8], ',')) {
        const auto parts = split(point, '@');
        printf("%s{\"conversations\":%s,\"context\":%s,\"tokens_per_second\":%.1f}", comma, parts[0].c_str(), parts[1].c_str(),
            rival.decode_rate(stoi(parts[0]), stoi(parts[1])));
        comma = ",";
    }
    printf("]}\n");
    fflush(stdout);
    _Exit(0); // the pool's threads are not worth joining
}
