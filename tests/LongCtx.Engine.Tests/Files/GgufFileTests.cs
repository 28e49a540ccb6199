using LongCtx.Engine.Files;

namespace LongCtx.Engine.Tests.Files;

public sealed class GgufFileTests : IDisposable
{
    static readonly TestTensor Eight = TestTensor.Of("t", TensorType.F32, [2, 4], [1, 2, 3, 4, 5, 6, 7, 8]);

    readonly TemporaryDirectory directory = new();

    public void Dispose() => directory.Dispose();

    [Theory]
    [InlineData(2u)]
    [InlineData(3u)]
    public void Open_EveryValueType_IsReadBack(uint version)
    {
        object[] values =
        [
            (byte)200, (sbyte)-100, (ushort)60000, (short)-30000, 4_000_000_000u, -2_000_000_000, 1.5f, true, "grüße", 1UL << 63, long.MinValue, Math.PI,
            new byte[] { 1, 2 }, new sbyte[] { -1 }, new ushort[] { 3 }, new short[] { -3 }, new uint[] { 4 }, new[] { -4, 5 }, new[] { 0.5f },
            new[] { true, false }, new[] { "a", "", "ü" }, new ulong[] { 1 }, new long[] { -1 }, new[] { 0.25 },
        ];
        GgufWriter writer = new() { Version = version };
        for (int i = 0; i < values.Length; i++) writer.Add($"k{i}", values[i]);
        writer.Add("nested", new object[] { new object[] { new[] { 1, 2 }, new[] { 3 } }, new object[] { new[] { "x" } } });

        using GgufFile file = Open(writer.Add(Eight));

        for (int i = 0; i < values.Length; i++) Assert.Equal(values[i], file.Metadata.Entries[$"k{i}"].Value);
        object[] nested = Assert.IsType<object[]>(file.Metadata.Entries["nested"].Value);
        Assert.Equal([1, 2], Assert.IsType<int[]>(Assert.IsType<object[]>(nested[0])[0]));
        Assert.Equal(["x"], Assert.IsType<string[]>(Assert.IsType<object[]>(nested[1])[0]));
    }

    [Fact]
    public void Metadata_TypedGetters_ConvertWhatFitsAndRefuseTheRest()
    {
        using GgufFile file = Open(new GgufWriter().Add("u8", (byte)7).Add("u64", ulong.MaxValue).Add("f32", 0.5f).Add("text", "x").Add("ids", new uint[] { 1, 2 })
            .Add("i64", 1L << 40).Add("large", new[] { 3_000_000_000u }));
        GgufMetadata m = file.Metadata;

        Assert.Equal((7L, 7, 7.0, 0.5), (m.Integer("u8"), m.Int("u8"), m.Number("u8"), m.Number("f32")));
        Assert.Equal([1, 2], m.Ints("ids")!);
        Assert.Null(m.String("absent"));
        Assert.Null(m.Integer("absent"));
        Assert.Null(m.Bool("absent"));
        Assert.Throws<ModelFileException>(() => m.Integer("u64"));
        Assert.Throws<ModelFileException>(() => m.Int("i64"));
        Assert.Throws<ModelFileException>(() => m.Integer("f32"));
        Assert.Throws<ModelFileException>(() => m.Ints("large"));
        Assert.Throws<ModelFileException>(() => m.Number("text"));
        ModelFileException e = Assert.Throws<ModelFileException>(() => m.Strings("text"));
        Assert.Contains("'text' must be an array of strings but is String", e.Message);
        Assert.Equal(m.Entries["text"].Offset, e.Offset);
    }

    [Theory]
    [InlineData(TensorType.F32)]
    [InlineData(TensorType.F16)]
    [InlineData(TensorType.BF16)]
    [InlineData(TensorType.Q8_0)]
    [InlineData(TensorType.Q4_0)]
    [InlineData(TensorType.Q4_1)]
    [InlineData(TensorType.Q5_0)]
    [InlineData(TensorType.Q5_1)]
    [InlineData(TensorType.Q4_K)]
    [InlineData(TensorType.Q6_K)]
    public void Open_EveryTensorType_KeepsItsBytes(TensorType type)
    {
        TestTensor first = TestTensor.Random("first", type, [3, 256], new Random(1)), second = TestTensor.Random("second", type, [1, 512], new Random(2));
        using GgufFile file = Open(new GgufWriter().Add(first).Add(second));

        Assert.Equal(type, file.Require("first").Type);
        Assert.Equal([3L, 256L], file.Require("first").Shape);
        Assert.Equal(first.Bytes, file.Bytes(file.Require("first")).ToArray());
        Assert.Equal(second.Bytes, file.Bytes(file.Require("second")).ToArray());
    }

    [Fact]
    public void Open_OtherAlignment_IsHonoured()
    {
        using GgufFile file = Open(new GgufWriter { Alignment = 256 }.Add("general.alignment", 256u).Add(Eight).Add(Eight with { Name = "u" }));

        Assert.Equal(0, file.Require("u").Offset % 256);
        Assert.Equal(Eight.Bytes, file.Bytes(file.Require("u")).ToArray());
    }

    [Theory]
    [InlineData(10u, "Q2_K")]
    [InlineData(13u, "Q5_K")]
    [InlineData(39u, "MXFP4")]
    [InlineData(4711u, "ggml type 4711")]
    public void Require_TensorOfOtherType_IsRefusedByNameOnlyThen(uint type, string name)
    {
        using GgufFile file = Open(new GgufWriter().Add(Eight).Add(Eight with { Name = "other" }, type));

        Assert.Equal(Eight.Bytes, file.Bytes(file.Require("t")).ToArray());
        ModelFileException e = Assert.Throws<ModelFileException>(() => file.Require("other"));
        Assert.Contains($"'other' is stored as {name},", e.Message);
        Assert.Contains("Q4_K", e.Message);
    }

    GgufFile Open(GgufWriter writer) => GgufFile.Open(directory.Write("model.gguf", writer.ToArray()));
}
