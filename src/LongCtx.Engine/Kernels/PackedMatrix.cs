using LongCtx.Engine.Files;

namespace LongCtx.Engine.Kernels;

/// <summary>
/// Weights in the layout of the kernels (<see cref="PanelLayout"/>), packed once at load. Sources are stacked: the rows of the second follow
/// those of the first, each may have its own type, and each is padded to whole panels of 16 rows in memory, not in the output.
/// </summary>
internal sealed unsafe partial class PackedMatrix : IDisposable
{
    readonly NativeBuffer _memory;

    PackedMatrix(NativeBuffer memory, PackedRows[] parts, int cols)
    {
        _memory = memory;
        Parts = parts;
        Cols = cols;
        Rows = parts[^1].FirstRow + parts[^1].Rows;
        PanelCount = parts[^1].FirstPanel + parts[^1].PanelCount;
        foreach (PackedRows part in parts) Forms |= part.Type.IsFloat() ? ActivationForms.Float : ActivationForms.Int8;
    }

    public int Rows { get; }

    public int Cols { get; }

    /// <summary>Panels of 16 rows: the unit in which callers divide the work.</summary>
    public int PanelCount { get; }

    /// <summary>What <see cref="Activations"/> must hold to be multiplied with this matrix.</summary>
    public ActivationForms Forms { get; }

    public nuint Bytes => _memory.Bytes;

    internal PackedRows[] Parts { get; }

    public void Dispose() => _memory.Dispose();
}

/// <summary>One source's rows inside a matrix.</summary>
internal readonly unsafe struct PackedRows(TensorType type, byte* panels, nint panelBytes, int firstPanel, int firstRow, int rows)
{
    public TensorType Type { get; } = type;

    public byte* Panels { get; } = panels;

    public nint PanelBytes { get; } = panelBytes;

    public int FirstPanel { get; } = firstPanel;

    public int FirstRow { get; } = firstRow;

    public int Rows { get; } = rows;

    public int PanelCount => (Rows + PanelLayout.Rows - 1) / PanelLayout.Rows;
}
