using LongCtx.Engine.Files;
using LongCtx.Engine.Kernels;

namespace LongCtx.Engine.Training;

/// <summary>
/// A frozen matrix W [outputs, inputs] as the right operand of dX = dY W: rows are dequantised from the model file and their floats lie by
/// panels of 16 inputs, [inputs / 16, outputs, 16]. Only one matrix, or a range of one, is ever held like this.
/// </summary>
internal readonly unsafe struct FrozenPanels(float* panels, int outputs)
{
    const int Lanes = PanelLayout.Rows;

    public PanelView View => new(panels, Lanes, (nint)outputs * Lanes);

    /// <summary>Rows [first, first + count) of the source become the outputs from <paramref name="output"/> on.</summary>
    /// <param name="row">Scratch for one row.</param>
    public void Fill(RowSource source, int first, int count, int output, float* row)
    {
        int cols = source.Cols, bytes = checked((int)source.RowBytes);
        for (int r = first; r < first + count; r++, output++)
        {
            Dequantizer.ToFloat32(source.Type, new(source.Row(r), bytes), new Span<float>(row, cols));
            float* target = panels + (nint)output * Lanes;
            for (int k = 0; k < cols; k += Lanes, target += (nint)outputs * Lanes)
                new ReadOnlySpan<float>(row + k, Math.Min(Lanes, cols - k)).CopyTo(new(target, Lanes));
        }
    }
}
