using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using LongCtx.Engine.Files;
using LongCtx.Engine.Kernels;

namespace LongCtx.Kernels.Bench;

// Kernel figures at SmolLM2-135M's shapes. Every figure is the best of many short runs: other processes only ever make a run slower.
// Usage: dotnet run --project bench/kernels -c Release [-- cold|pool|stream|load|pack|gemv|gemm|float|one ...]; everything but cold by default,
// "one" leaves out two threads in gemv. Figures of one thread are per second of processor time.
// Or: training MODEL CHUNK PREFIX RANK THREADS [UPDATES] [cached]: Temp-LoRA updates of two epochs on random tokens, and where their time goes;
// training.py is the same in PyTorch.
internal static unsafe partial class Program
{
    const double IntPeak = 465, FloatPeak = 232; // measured per core on the reference machine (AVX-VNNI 256, AVX-512 FMA), 1e9 operations per second

    static void Main(string[] args)
    {
        HashSet<string> what = [.. args];
        bool Wants(string name) => what.Count == 0 || what.Contains(name);
        Console.WriteLine($"cores {Environment.ProcessorCount}, paths: {string.Join(' ', Enum.GetValues<KernelPath>().Where(p => p.IsSupported()))}");
        if (what.Contains("training"))
        {
            Training(args);
            return;
        }

        if (what.Contains("cold")) Cold();
        if (Wants("pool")) Pool();
        if (Wants("stream")) Stream();
        if (Wants("load")) Load();
        if (Wants("pack")) Pack();
        if (Wants("gemv")) Gemv(what);
        if (Wants("gemm")) Gemm();
        if (Wants("float")) Floats();
    }

    /// <summary>Seconds of the quickest of several runs; processor time when one thread does it all, so that others' time slices do not count.</summary>
    static double Best(Action run, double seconds = 0.25, bool processorTime = false)
    {
        run();
        double best = double.MaxValue;
        long started = Stopwatch.GetTimestamp();
        do
        {
            long from = processorTime ? ThreadNanoseconds() : Stopwatch.GetTimestamp();
            run();
            best = Math.Min(best, processorTime ? (ThreadNanoseconds() - from) * 1e-9 : Stopwatch.GetElapsedTime(from).TotalSeconds);
        }
        while (Stopwatch.GetElapsedTime(started).TotalSeconds < seconds);
        return best;
    }

    static long ThreadNanoseconds()
    {
        const int ThreadProcessorTime = 3;
        long* time = stackalloc long[2];
        _ = ClockGetTime(ThreadProcessorTime, time);
        return time[0] * 1_000_000_000 + time[1];
    }

    [LibraryImport("libc", EntryPoint = "clock_gettime")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial int ClockGetTime(int clock, long* time);

    static PackedMatrix Random(TensorType type, int rows, int cols, WorkerPool pool)
    {
        long bytes = rows * type.ByteLength(cols);
        using var data = new NativeBuffer((nuint)bytes);
        var random = new Random(1);
        for (long i = 0; i < bytes / 2; i++) ((ushort*)data.Pointer)[i] = (ushort)(0x1C00 | random.Next(0x3FF)); // small halves, random codes
        return PackedMatrix.Pack([new RowSource(type, data.Pointer, rows, cols)], pool);
    }

    static Activations Tokens(int tokens, int cols)
    {
        var x = new Activations(tokens, cols, cols % 32 == 0 ? ActivationForms.Int8 | ActivationForms.Float : ActivationForms.Float);
        var random = new Random(2);
        var values = new float[tokens * cols];
        for (int i = 0; i < values.Length; i++) values[i] = random.NextSingle() - 0.5f;
        fixed (float* p = values) x.Load(p, cols, 0, tokens);
        return x;
    }

    readonly struct BusyJob(long ticks) : IParallelJob
    {
        public void Execute(int part, int worker)
        {
            long started = Stopwatch.GetTimestamp();
            while (Stopwatch.GetTimestamp() - started < ticks) { }
        }
    }

    static void Pool()
    {
        const int runs = 50;
        foreach (int threads in new[] { 1, 2 })
            foreach (int microseconds in new[] { 0, 2, 10 })
            {
                using var pool = new WorkerPool(threads);
                var job = new BusyJob(microseconds * Stopwatch.Frequency / 1_000_000);
                double best = Best(() => { for (int i = 0; i < runs; i++) pool.Run(ref job, threads); }, 0.5);
                Console.WriteLine($"pool: {threads} threads, one part of {microseconds} us each: {best / runs * 1e6:F2} us");
            }
    }

    struct StreamJob(byte* data, long bytesPerPart) : IParallelJob
    {
        public static long Sink;

        readonly byte* _data = data;

        public readonly void Execute(int part, int worker)
        {
            byte* p = _data + part * bytesPerPart;
            Vector512<long> a = default, b = default, c = default, d = default;
            for (long i = 0; i < bytesPerPart; i += 256)
            {
                a ^= Vector512.Load((long*)(p + i));
                b ^= Vector512.Load((long*)(p + i + 64));
                c ^= Vector512.Load((long*)(p + i + 128));
                d ^= Vector512.Load((long*)(p + i + 192));
            }
            Sink += (a ^ b ^ c ^ d)[0];
        }
    }

    static void Stream()
    {
        const long bytes = 96L << 20;
        using var buffer = new NativeBuffer((nuint)bytes);
        for (int threads = 1; threads <= 2; threads++)
        {
            using var pool = new WorkerPool(threads);
            double best = Best(() =>
            {
                var job = new StreamJob(buffer.Pointer, 1 << 20);
                pool.Run(ref job, (int)(bytes >> 20));
            }, 0.5, threads == 1);
            Console.WriteLine($"stream: plain read of 96 MB, {threads} threads: {bytes / best / 1e9:F1} GB/s");
        }
    }

    static void Load()
    {
        foreach (int cols in new[] { 576, 1536 })
        {
            using var x = new Activations(512, cols, ActivationForms.Int8);
            var values = new float[512 * cols];
            for (int i = 0; i < values.Length; i++) values[i] = i % 97 - 48;
            double best = Best(() => { fixed (float* p = values) x.Load(p, cols, 0, 512); }, 0.25, true);
            double one = Best(() => { fixed (float* p = values) for (int i = 0; i < 100; i++) x.Load(p, cols, 0, 1); }, 0.25, true) / 100;
            Console.WriteLine($"load: int8 form of {cols} columns: {best / 512 * 1e9:F0} ns per token of 512, {one * 1e9:F0} ns alone");
        }
    }

    /// <summary>What the first calls of a process cost, most of it compilation.</summary>
    static void Cold()
    {
        using var pool = new WorkerPool(2);
        foreach (TensorType type in new[] { TensorType.Q4_1, TensorType.Q8_0 })
        {
            long started = Stopwatch.GetTimestamp();
            void Lap(string name)
            {
                Console.WriteLine($"cold: {type} {name}: {Stopwatch.GetElapsedTime(started).TotalMilliseconds:F1} ms");
                started = Stopwatch.GetTimestamp();
            }
            using PackedMatrix w = Random(type, 64, 576, pool);
            Lap("fill and pack");
            using Activations x = Tokens(64, 576);
            Lap("activations");
            var y = new float[64 * 64];
            foreach (int tokens in new[] { 1, 64, 23 })
            {
                fixed (float* p = y) MatMul.Multiply(w, x, 0, tokens, p, 64, pool);
                Lap($"{tokens} tokens");
            }
        }
    }

    static void Pack()
    {
        using var pool = new WorkerPool(2);
        foreach ((TensorType type, int rows, int cols) in new[] { (TensorType.Q4_1, 92160, 1152), (TensorType.Q8_0, 49152, 576) })
        {
            using var data = new NativeBuffer((nuint)(rows * type.ByteLength(cols)));
            double best = Best(() => PackedMatrix.Pack([new RowSource(type, data.Pointer, rows, cols)], pool).Dispose());
            Console.WriteLine($"pack: {type} {data.Bytes / 1e6:F0} MB: {best * 1e3:F1} ms");
        }
    }

    static void Gemv(HashSet<string> what)
    {
        foreach ((TensorType type, int rows, int cols) in new[]
        {
            (TensorType.Q4_1, 576, 1536), (TensorType.Q8_0, 1024, 576), // from the second-level cache: what the kernel could do
            (TensorType.Q4_1, 96 * 1024, 576), (TensorType.Q4_1, 36 * 1024, 1536), (TensorType.Q8_0, 49152, 576), (TensorType.Q4_0, 96 * 1024, 576),
            (TensorType.Q4_K, 36 * 1024, 1536), (TensorType.Q6_K, 24 * 1024, 1536), (TensorType.BF16, 24 * 1024, 704), (TensorType.F16, 24 * 1024, 384),
        })
            for (int threads = 1; threads <= (what.Contains("one") ? 1 : 2); threads++)
            {
                using var pool = new WorkerPool(threads);
                using PackedMatrix w = Random(type, rows, cols, pool);
                using Activations x = Tokens(8, cols);
                var y = new float[8 * rows];
                string line = "";
                foreach (KernelPath path in Enum.GetValues<KernelPath>())
                {
                    if (!path.IsSupported() || path == KernelPath.Portable) continue;
                    line += $"  {path}";
                    foreach (int tokens in new[] { 1, 2, 4, 8 })
                    {
                        double best = Best(() => { fixed (float* p = y) MatMul.Multiply(w, x, 0, tokens, p, rows, pool, false, path); }, 0.25, threads == 1);
                        line += $" {w.Bytes / best / 1e9:F1}";
                    }
                }
                Console.WriteLine($"gemv: {type} {rows}x{cols} ({w.Bytes / 1e6:F0} MB), {threads} threads, GB/s at 1, 2, 4, 8 tokens:{line}");
            }
    }

    static void Gemm()
    {
        foreach ((TensorType type, int rows, int cols) in new[]
        {
            (TensorType.Q4_1, 960, 576), (TensorType.Q4_1, 576, 576), (TensorType.Q4_1, 3072, 576), (TensorType.Q4_1, 576, 1536),
            (TensorType.Q8_0, 3072, 576), (TensorType.Q6_K, 2048, 512),
        })
            Gemm(type, rows, cols, IntPeak, "GOP/s");
    }

    static void Floats()
    {
        foreach ((TensorType type, int rows, int cols) in new[]
        {
            (TensorType.F32, 1152, 384), (TensorType.F16, 1152, 384), (TensorType.F16, 384, 1536), (TensorType.BF16, 1408, 256), (TensorType.BF16, 256, 704),
        })
            Gemm(type, rows, cols, FloatPeak, "GFLOP/s");
    }

    static void Gemm(TensorType type, int rows, int cols, double peak, string unit)
    {
        const int tokens = 512;
        for (int threads = 1; threads <= 2; threads++)
        {
            using var pool = new WorkerPool(threads);
            using PackedMatrix w = Random(type, rows, cols, pool);
            using Activations x = Tokens(tokens, cols);
            using var y = new NativeBuffer((nuint)tokens * (nuint)rows * 4);
            string line = "";
            foreach (KernelPath path in Enum.GetValues<KernelPath>())
            {
                if (!path.IsSupported() || path == KernelPath.Portable || (type.IsFloat() && path == KernelPath.AvxVnni)) continue;
                double best = Best(() => MatMul.Multiply(w, x, 0, tokens, (float*)y.Pointer, rows, pool, false, path), 0.25, threads == 1);
                double rate = 2.0 * rows * cols * tokens / best / 1e9;
                line += $"  {path} {rate:F0} ({rate / peak / threads:P0})";
            }
            Console.WriteLine($"gemm: {type} {rows}x{cols} x {tokens} tokens, {threads} threads, {unit}:{line}");
        }
    }
}
