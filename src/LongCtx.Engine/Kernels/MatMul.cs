using LongCtx.Engine.Files;

namespace LongCtx.Engine.Kernels;

/// <summary>
/// y = W x for many tokens. An output depends on its weight row and its token's activations alone: the bits are the same whatever the number
/// of tokens in the call, the ranges, the number of threads and the instruction set.
/// </summary>
internal static unsafe class MatMul
{
    [ThreadStatic]
    static NativeBuffer? t_scratch;

    /// <summary>
    /// Some panels (of 16 rows) times some tokens, on the calling thread: y[(token - firstToken) * yStride + row] for rows of those panels.
    /// </summary>
    /// <param name="y">Output of row 0 of the matrix for the first token, whatever <paramref name="firstPanel"/> is.</param>
    /// <param name="accumulate">Adds to y instead of overwriting it.</param>
    /// <param name="path">null: the quickest one.</param>
    public static void Multiply(
        PackedMatrix w, Activations x, int firstToken, int tokenCount, int firstPanel, int panelCount, float* y, nint yStride,
        bool accumulate = false, KernelPath? path = null)
    {
        Check(w, x, firstToken, tokenCount);
        ArgumentOutOfRangeException.ThrowIfNegative(firstPanel);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((long)firstPanel + panelCount, w.PanelCount, nameof(panelCount));
        if (tokenCount == 0) return;
        foreach (ref readonly PackedRows part in w.Parts.AsSpan())
        {
            int from = Math.Max(0, firstPanel - part.FirstPanel), to = Math.Min(part.PanelCount, firstPanel + panelCount - part.FirstPanel);
            if (from >= to) continue;
            KernelPath chosen = path ?? KernelPaths.For(part.Type);
            float* rows = y + part.FirstRow + from * PanelLayout.Rows;
            if (part.Type.IsFloat())
            {
                var range = new FloatRange
                {
                    Panels = part.Panels + from * part.PanelBytes,
                    PanelBytes = part.PanelBytes,
                    PanelCount = to - from,
                    Rows = part.Rows - from * PanelLayout.Rows,
                    Pairs = PanelLayout.PaddedColumns(w.Cols) / 2,
                    X = x.Floats,
                    XGroupBytes = x.FloatGroupBytes,
                    FirstToken = firstToken,
                    TokenCount = tokenCount,
                    Y = rows,
                    YStride = yStride,
                    Accumulate = accumulate,
                };
                if (range.WantsScratch || chosen == KernelPath.Portable) range.Scratch = Scratch(FloatRange.MaxTilePanels * range.WideBytes);
                Run(chosen, part.Type, range);
            }
            else
            {
                var range = new IntRange
                {
                    Panels = part.Panels + from * part.PanelBytes,
                    PanelBytes = part.PanelBytes,
                    HeaderBytes = part.Type.HeaderBytes(w.Cols),
                    PanelCount = to - from,
                    Rows = part.Rows - from * PanelLayout.Rows,
                    Blocks = w.Cols / PanelLayout.BlockColumns,
                    X = x.Codes,
                    XGroupBytes = x.CodeGroupBytes,
                    FirstToken = firstToken,
                    TokenCount = tokenCount,
                    Y = rows,
                    YStride = yStride,
                    Accumulate = accumulate,
                };
                if (range.WantsScratch || chosen == KernelPath.Portable) range.Scratch = Scratch((nint)range.Blocks * PanelLayout.WideBlockBytes);
                Run(chosen, part.Type, range);
            }
        }
        GC.KeepAlive(w); // the kernels hold bare pointers
        GC.KeepAlive(x);
    }

    /// <summary>All rows times some tokens, shared by the threads of a pool.</summary>
    public static void Multiply(
        PackedMatrix w, Activations x, int firstToken, int tokenCount, float* y, nint yStride, WorkerPool pool,
        bool accumulate = false, KernelPath? path = null)
    {
        Check(w, x, firstToken, tokenCount);
        var partition = Partition.For(w, tokenCount, pool.Threads);
        var job = new Job(w, x, firstToken, y, yStride, accumulate, path, partition);
        pool.Run(ref job, partition.Parts);
    }

    static void Check(PackedMatrix w, Activations x, int firstToken, int tokenCount)
    {
        if (w.Cols != x.Cols) throw new ArgumentException($"The matrix has {w.Cols} columns, the activations have {x.Cols}.", nameof(x));
        if ((x.Forms & w.Forms) != w.Forms)
            throw new ArgumentException($"The matrix needs activations as {w.Forms}, but they are held as {x.Forms}.", nameof(x));
        ArgumentOutOfRangeException.ThrowIfNegative(firstToken);
        ArgumentOutOfRangeException.ThrowIfNegative(tokenCount);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((long)firstToken + tokenCount, x.Capacity, nameof(tokenCount));
    }

    static byte* Scratch(nint bytes)
    {
        NativeBuffer? scratch = t_scratch;
        if (scratch is null || scratch.Bytes < (nuint)bytes)
        {
            scratch?.Dispose();
            t_scratch = scratch = new NativeBuffer((nuint)bytes);
        }
        return scratch.Pointer;
    }

    static void Run(KernelPath path, TensorType type, in IntRange range)
    {
        switch (path)
        {
            case KernelPath.Avx512: Run512(type, range); break;
            case KernelPath.AvxVnni: Run256<VnniDot256, VnniDot256>(type, range); break;
            case KernelPath.Avx2: Run256<NibbleDot256, ByteDot256>(type, range); break;
            default: PortableKernels.Run(type, range); break;
        }
    }

    static void Run512(TensorType type, in IntRange range)
    {
        switch (type)
        {
            case TensorType.Q4_0: range.Run<IntKernel512<Q4_0Panel512, NibbleDot512>, IntKernel512<WidePanel512, NibbleDot512>>(); break;
            case TensorType.Q4_1: range.Run<IntKernel512<Q4_1Panel512, NibbleDot512>, IntKernel512<WidePanel512, NibbleDot512>>(); break;
            case TensorType.Q4_K: range.Run<IntKernel512<Q4_KPanel512, NibbleDot512>, IntKernel512<WidePanel512, NibbleDot512>>(); break;
            case TensorType.Q5_0: range.Run<IntKernel512<Q5_0Panel512, ByteDot512>, IntKernel512<WidePanel512, ByteDot512>>(); break;
            case TensorType.Q5_1: range.Run<IntKernel512<Q5_1Panel512, ByteDot512>, IntKernel512<WidePanel512, ByteDot512>>(); break;
            case TensorType.Q8_0: range.Run<IntKernel512<Q8_0Panel512, ByteDot512>, IntKernel512<WidePanel512, ByteDot512>>(); break;
            case TensorType.Q6_K: range.Run<Q6KKernel512<Q6_KPanel512>, Q6KKernel512<WidePanel512>>(); break;
        }
    }

    static void Run256<TNibbleDot, TByteDot>(TensorType type, in IntRange range)
        where TNibbleDot : struct, IDot256 where TByteDot : struct, IDot256
    {
        switch (type)
        {
            case TensorType.Q4_0: range.Run<IntKernel256<Q4_0Panel256, TNibbleDot>, IntKernel256<WidePanel256, TNibbleDot>>(); break;
            case TensorType.Q4_1: range.Run<IntKernel256<Q4_1Panel256, TNibbleDot>, IntKernel256<WidePanel256, TNibbleDot>>(); break;
            case TensorType.Q4_K: range.Run<IntKernel256<Q4_KPanel256, TNibbleDot>, IntKernel256<WidePanel256, TNibbleDot>>(); break;
            case TensorType.Q5_0: range.Run<IntKernel256<Q5_0Panel256, TByteDot>, IntKernel256<WidePanel256, TByteDot>>(); break;
            case TensorType.Q5_1: range.Run<IntKernel256<Q5_1Panel256, TByteDot>, IntKernel256<WidePanel256, TByteDot>>(); break;
            case TensorType.Q8_0: range.Run<IntKernel256<Q8_0Panel256, TByteDot>, IntKernel256<WidePanel256, TByteDot>>(); break;
            case TensorType.Q6_K: range.Run<Q6KKernel256<Q6_KPanel256, TByteDot>, Q6KKernel256<WidePanel256, TByteDot>>(); break;
        }
    }

    static void Run(KernelPath path, TensorType type, in FloatRange range)
    {
        switch (path, type)
        {
            case (KernelPath.Portable, _): PortableKernels.Run(type, range); break;
            case (KernelPath.Avx512, TensorType.F32): range.Run<FloatKernel512<F32Panel512>, FloatKernel512<F32Panel512>>(); break;
            case (KernelPath.Avx512, TensorType.F16): range.Run<FloatKernel512<F16Panel512>, FloatKernel512<F32Panel512>>(); break;
            case (KernelPath.Avx512, TensorType.BF16): range.Run<FloatKernel512<BF16Panel512>, FloatKernel512<F32Panel512>>(); break;
            case (_, TensorType.F32): range.Run<FloatKernel256<F32Panel256>, FloatKernel256<F32Panel256>>(); break;
            case (_, TensorType.F16): range.Run<FloatKernel256<F16Panel256>, FloatKernel256<F32Panel256>>(); break;
            case (_, TensorType.BF16): range.Run<FloatKernel256<BF16Panel256>, FloatKernel256<F32Panel256>>(); break;
        }
    }

    readonly struct Job(
        PackedMatrix w, Activations x, int firstToken, float* y, nint yStride, bool accumulate, KernelPath? path,
        Partition partition) : IParallelJob
    {
        readonly float* _y = y;

        public void Execute(int part, int worker)
        {
            partition.Part(part, out int tokenFrom, out int tokens, out int panelFrom, out int panels);
            Multiply(w, x, firstToken + tokenFrom, tokens, panelFrom, panels, _y + tokenFrom * yStride, yStride, accumulate, path);
        }
    }
}
