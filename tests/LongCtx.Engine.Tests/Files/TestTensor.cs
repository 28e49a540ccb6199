using LongCtx.Engine.Files;

namespace LongCtx.Engine.Tests.Files;

/// <summary>A tensor to write into a file.</summary>
/// <param name="Shape">Outermost first.</param>
internal sealed record TestTensor(string Name, TensorType Type, long[] Shape, byte[] Bytes)
{
    /// <summary>Normal-ish numbers of a given spread, quantised.</summary>
    public static TestTensor Random(string name, TensorType type, long[] shape, Random random, float spread = 0.1f)
    {
        float[] values = new float[shape.Aggregate(1L, (a, b) => a * b)];
        for (int i = 0; i < values.Length; i++) values[i] = (random.NextSingle() + random.NextSingle() + random.NextSingle() - 1.5f) * 2 * spread;
        return Of(name, type, shape, values);
    }

    public static TestTensor Of(string name, TensorType type, long[] shape, ReadOnlySpan<float> values) => new(name, type, shape, Quantizer.Quantize(type, values));
}
