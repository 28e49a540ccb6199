using LongCtx.Engine.Files;

namespace LongCtx.Engine.Kernels;

internal sealed unsafe partial class PackedMatrix
{
    /// <summary>Panels that one part of the packing job takes.</summary>
    const int PanelsPerPart = 16;

    /// <exception cref="ArgumentException">The sources do not fit each other or their type.</exception>
    public static PackedMatrix Pack(ReadOnlySpan<RowSource> sources, WorkerPool pool)
    {
        if (sources.IsEmpty) throw new ArgumentException("A matrix needs at least one source of rows.", nameof(sources));
        int cols = sources[0].Cols;
        nuint bytes = 0;
        foreach (ref readonly RowSource source in sources)
        {
            Check(source, cols);
            bytes += (nuint)(PanelsOf(source.Rows) * source.Type.PanelBytes(cols));
        }
        var memory = new NativeBuffer(bytes);
        var parts = new PackedRows[sources.Length];
        int panel = 0, row = 0;
        byte* at = memory.Pointer;
        for (int i = 0; i < sources.Length; i++)
        {
            RowSource source = sources[i];
            parts[i] = new PackedRows(source.Type, at, source.Type.PanelBytes(cols), panel, row, source.Rows);
            var job = new PackJob(source, parts[i]);
            pool.Run(ref job, (parts[i].PanelCount + PanelsPerPart - 1) / PanelsPerPart);
            at += parts[i].PanelBytes * parts[i].PanelCount;
            panel += parts[i].PanelCount;
            row += source.Rows;
        }
        return new PackedMatrix(memory, parts, cols);
    }

    static nint PanelsOf(int rows) => (rows + PanelLayout.Rows - 1) / PanelLayout.Rows;

    static void Check(in RowSource source, int cols)
    {
        int multiple = source.Type.IsFloat() ? 1 : source.Type.BlockSize();
        if (source.Rows < 1 || source.Cols < 1)
            throw new ArgumentException($"A matrix of {source.Rows} x {source.Cols} weights has no elements.", nameof(source));
        if (source.Cols != cols)
            throw new ArgumentException($"Stacked sources need equally long rows, but one has {source.Cols} columns and the first has {cols}.", nameof(source));
        if (cols % multiple != 0)
            throw new ArgumentException($"{source.Type} stores rows in blocks of {multiple}; {cols} columns are no multiple of that.", nameof(source));
        if (source.Order is null) return;
        if (source.Order.Length != source.Rows)
            throw new ArgumentException($"The row order names {source.Order.Length} rows, the source has {source.Rows}.", nameof(source));
        foreach (int row in source.Order)
            if ((uint)row >= (uint)source.Rows) throw new ArgumentException($"The row order names row {row} of {source.Rows}.", nameof(source));
    }

    readonly struct PackJob(RowSource source, PackedRows target) : IParallelJob
    {
        public void Execute(int part, int worker)
        {
            byte** rows = stackalloc byte*[PanelLayout.Rows];
            int end = Math.Min(target.PanelCount, (part + 1) * PanelsPerPart);
            for (int panel = part * PanelsPerPart; panel < end; panel++)
            {
                int first = panel * PanelLayout.Rows, count = Math.Min(PanelLayout.Rows, source.Rows - first);
                for (int r = 0; r < count; r++) rows[r] = source.Row(first + r);
                PanelPacker.Pack(source.Type, rows, count, source.Cols, target.Panels + panel * target.PanelBytes);
            }
        }
    }
}
