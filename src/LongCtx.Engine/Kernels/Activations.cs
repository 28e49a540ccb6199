namespace LongCtx.Engine.Kernels;

/// <summary>What a weight type wants its activations to be.</summary>
[Flags]
internal enum ActivationForms
{
    Float = 1,
    Int8 = 2,
}

/// <summary>
/// The right-hand sides of a multiplication: one row per token, interleaved by four tokens for broadcast loads.
/// <code>
/// Float: group of 4 tokens, column-major     column k, slot s (token = 4 group + s): float at 16 k + 4 s
/// Int8:  group of 4 tokens, records of 192 bytes per 32 columns
///          0  8 x 16 bytes   column group g, slot s: int8 of columns 4g .. 4g+3 at 16 g + 4 s
///        128  4 x f32        d: x = d * int8, d = max|x| / 127 of these 32 columns
///        144  4 x f32        d * sum of the 32 int8 (meets the m of the weights)
///        160  4 x f32        d * sum of the first 16
///        176  4 x f32        d * sum of the last 16
/// </code>
/// Everything of one slot lies 4 s bytes further, so a kernel for one token is given a shifted pointer.
/// </summary>
internal sealed unsafe partial class Activations : IDisposable
{
    public const int GroupTokens = 4;
    public const int RecordBytes = 192;
    public const int ScaleOffset = 128, SumOffset = 144, LowSumOffset = 160, HighSumOffset = 176;

    readonly NativeBuffer? _floats;
    readonly NativeBuffer? _codes;

    public Activations(int capacity, int cols, ActivationForms forms)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(capacity, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(cols, 1);
        if (forms.HasFlag(ActivationForms.Int8) && cols % PanelLayout.BlockColumns != 0)
            throw new ArgumentException($"Quantised weights need activations of a multiple of 32 columns, not {cols}.", nameof(cols));
        Capacity = capacity;
        Cols = cols;
        Forms = forms;
        nuint groups = (nuint)(capacity + GroupTokens - 1) / GroupTokens;
        if (forms.HasFlag(ActivationForms.Float)) _floats = new NativeBuffer(groups * (nuint)FloatGroupBytes);
        if (forms.HasFlag(ActivationForms.Int8)) _codes = new NativeBuffer(groups * (nuint)CodeGroupBytes);
    }

    /// <summary>Tokens that fit.</summary>
    public int Capacity { get; }

    public int Cols { get; }

    public ActivationForms Forms { get; }

    internal nint FloatGroupBytes => (nint)PanelLayout.PaddedColumns(Cols) * 16;

    internal nint CodeGroupBytes => (nint)(Cols / PanelLayout.BlockColumns) * RecordBytes;

    internal byte* Floats => _floats!.Pointer;

    internal byte* Codes => _codes!.Pointer;

    public void Dispose()
    {
        _floats?.Dispose();
        _codes?.Dispose();
    }
}
