using LongCtx.Engine.Files;
using LongCtx.Engine.Kernels;

namespace LongCtx.Engine.Tests.Kernels;

public sealed unsafe class PackedMatrixTests : IDisposable
{
    readonly WorkerPool _pool = new(1);

    public void Dispose() => _pool.Dispose();

    [Theory]
    [InlineData(TensorType.Q4_0)]
    [InlineData(TensorType.Q4_1)]
    [InlineData(TensorType.Q8_0)]
    [InlineData(TensorType.F16)]
    [InlineData(TensorType.BF16)]
    [InlineData(TensorType.F32)]
    public void Pack_WholePanels_TakesNoMoreMemoryThanTheFile(TensorType type)
    {
        using var weights = new SampleWeights(type, 64, 96, seed: 1);
        using PackedMatrix w = PackedMatrix.Pack([weights.Source()], _pool);
        Assert.Equal((nuint)(64 * type.ByteLength(96)), w.Bytes);
        Assert.Equal(4, w.PanelCount);
    }

    [Fact]
    public void Pack_Q4_K_TakesHardlyMoreMemoryThanTheFile()
    {
        using var weights = new SampleWeights(TensorType.Q4_K, 64, 512, seed: 1);
        using PackedMatrix w = PackedMatrix.Pack([weights.Source()], _pool);
        Assert.InRange((double)w.Bytes / (64 * TensorType.Q4_K.ByteLength(512)), 1, 1.03); // scales of 8 bits instead of 6
    }

    [Fact]
    public void Pack_SourcesThatDoNotFit_Throws()
    {
        byte* data = stackalloc byte[4096];
        Assert.Throws<ArgumentException>(() => PackedMatrix.Pack([], _pool));
        Assert.Throws<ArgumentException>(() => PackedMatrix.Pack([new RowSource(TensorType.Q4_0, data, 4, 48)], _pool));
        Assert.Throws<ArgumentException>(() => PackedMatrix.Pack([new RowSource(TensorType.Q4_K, data, 4, 128)], _pool));
        Assert.Throws<ArgumentException>(() => PackedMatrix.Pack([new RowSource(TensorType.F32, data, 0, 8)], _pool));
        Assert.Throws<ArgumentException>(() => PackedMatrix.Pack([new RowSource(TensorType.F32, data, 4, 8), new RowSource(TensorType.F32, data, 4, 9)], _pool));
        Assert.Throws<ArgumentException>(() => PackedMatrix.Pack([new RowSource(TensorType.F32, data, 4, 8, [0, 1, 2, 4])], _pool));
        Assert.Throws<ArgumentException>(() => PackedMatrix.Pack([new RowSource(TensorType.F32, data, 4, 8, [0, 1])], _pool));
    }
}
