using LongCtx.Engine.Files;

namespace LongCtx.Engine.Tests.Files;

/// <summary>What every implementation of the seam does, given the same tensors.</summary>
public abstract class ModelFileConformanceTests : IDisposable
{
    static readonly Random Seeded = new(5);

    static readonly TestTensor[] Given =
    [
        TestTensor.Random("a", TensorType.F32, [3, 4], Seeded),
        TestTensor.Random("b", TensorType.F16, [7], Seeded),
        TestTensor.Random("c", TensorType.BF16, [2, 3, 5], Seeded),
        TestTensor.Random("d", TensorType.F32, [1], Seeded),
    ];

    internal TemporaryDirectory Directory { get; } = new();

    private protected abstract ModelFile Open(TestTensor[] tensors);

    public void Dispose()
    {
        Directory.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void Tensors_OfAFile_HaveNameTypeShapeAndBytes()
    {
        using ModelFile file = Open(Given);

        Assert.Equal(Given.Select(t => t.Name), file.Tensors.Keys.Order());
        foreach (TestTensor given in Given)
        {
            TensorInfo tensor = file.Require(given.Name);
            Assert.Equal((given.Name, given.Type, given.Bytes.Length), (tensor.Name, tensor.Type, tensor.ByteLength));
            Assert.Equal(given.Shape, tensor.Shape);
            Assert.Equal(given.Bytes, file.Bytes(tensor).ToArray());
        }
    }

    [Fact]
    public void Row_OfAMatrix_IsThatPartOfItsBytes()
    {
        using ModelFile file = Open(Given);
        TensorInfo tensor = file.Require("c");

        Assert.Equal((6, 5, 10), (tensor.Rows, tensor.Columns, tensor.RowBytes));
        Assert.Equal(Given[2].Bytes.AsSpan(40, 10).ToArray(), file.Row(tensor, 4).ToArray());
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Row(tensor, 6).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Row(tensor, -1).Length);
    }

    [Fact]
    public void Require_UnknownName_NamesTensorAndFile()
    {
        using ModelFile file = Open(Given);

        ModelFileException e = Assert.Throws<ModelFileException>(() => file.Require("nowhere"));
        Assert.Contains("'nowhere'", e.Message);
        Assert.Equal(file.Path, e.File);
        Assert.False(file.TryFind("nowhere", out _));
    }

    [Fact]
    public unsafe void Data_AfterDispose_IsRefused()
    {
        ModelFile file = Open(Given);
        TensorInfo tensor = file.Require("a");
        file.Dispose();

        Assert.Throws<ObjectDisposedException>(() => (nint)file.Data(tensor));
    }
}

public sealed class GgufConformanceTests : ModelFileConformanceTests
{
    private protected override ModelFile Open(TestTensor[] tensors)
    {
        GgufWriter writer = new();
        foreach (TestTensor tensor in tensors) writer.Add(tensor);
        return GgufFile.Open(Directory.Write("model.gguf", writer.ToArray()));
    }
}

public sealed class SafetensorsConformanceTests : ModelFileConformanceTests
{
    private protected override ModelFile Open(TestTensor[] tensors) =>
        SafetensorsFile.Open(Directory.Write("model.safetensors", SafetensorsWriter.Write(tensors)));
}

public sealed class ShardedSafetensorsConformanceTests : ModelFileConformanceTests
{
    private protected override ModelFile Open(TestTensor[] tensors)
    {
        Dictionary<string, string> map = [];
        for (int shard = 0; shard < 2; shard++)
        {
            TestTensor[] part = [.. tensors.Where((_, i) => i % 2 == shard)];
            string name = $"model-{shard}.safetensors";
            Directory.Write(name, SafetensorsWriter.Write(part));
            foreach (TestTensor tensor in part) map.Add(tensor.Name, name);
        }

        return SafetensorsFile.Open(Directory.Write("model.safetensors.index.json",
            System.Text.Json.JsonSerializer.Serialize(new { metadata = new { total_size = 1 }, weight_map = map })));
    }
}

public sealed class MemoryConformanceTests : ModelFileConformanceTests
{
    private protected override ModelFile Open(TestTensor[] tensors) => new MemoryModelFile(tensors);
}
