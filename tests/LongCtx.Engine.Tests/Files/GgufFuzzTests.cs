using LongCtx.Engine.Files;
using LongCtx.Engine.Tests.Models;

namespace LongCtx.Engine.Tests.Files;

public sealed class GgufFuzzTests : IDisposable
{
    static readonly TestTensor Eight = TestTensor.Of("t", TensorType.F32, [2, 4], [1, 2, 3, 4, 5, 6, 7, 8]);

    readonly TemporaryDirectory directory = new();

    public void Dispose() => directory.Dispose();

    [Fact]
    public void Open_TruncatedAnywhere_IsRefused()
    {
        byte[] whole = TinyModel.Gguf(TinyModel.Decoder, TensorType.Q4_0).ToArray();
        Assert.Null(Hostile.OpenModel(directory.Write("model.gguf", whole), "whole"));

        int header = HeaderLength(whole);
        foreach (int length in Enumerable.Range(0, header + 64).Concat(Enumerable.Range(1, 200).Select(i => whole.Length - i)))
            Assert.NotNull(Hostile.OpenModel(directory.Write("model.gguf", whole.AsSpan(0, length)), $"truncated to {length}"));
    }

    [Fact]
    public void Open_RandomlyDamagedHeader_IsRefusedOrConsistent()
    {
        const int seed = 4711;
        byte[] whole = TinyModel.Gguf(TinyModel.Decoder, TensorType.Q4_0, ("tokenizer.chat_template", "{{ messages }}"),
            ("tokenizer.ggml.scores", new float[16]), ("nested", new object[] { new[] { 1 }, new[] { 2 } })).ToArray();
        int header = HeaderLength(whole), refused = 0;
        Random random = new(seed);
        for (int round = 0; round < 4000; round++)
        {
            byte[] damaged = Hostile.Mutate(whole, header, random);
            if (Hostile.OpenModel(directory.Write("model.gguf", damaged), $"seed {seed}, round {round}") is not null) refused++;
        }

        Assert.InRange(refused, 2000, 3999); // names of unused keys may change freely; most else must be noticed
    }

    public static TheoryData<string, Func<byte[]>, string> HostileFiles => new()
    {
        { "huge tensor count", () => new GgufWriter { TensorCount = ulong.MaxValue }.Add(Eight).ToArray(), "the number of tensors is 18446744073709551615" },
        { "large tensor count", () => new GgufWriter { TensorCount = 1 << 20 }.Add(Eight).ToArray(), "which cannot fit in the remaining" },
        { "huge metadata count", () => new GgufWriter { MetadataCount = 1UL << 62 }.Add(Eight).ToArray(), "the number of metadata entries is" },
        { "large metadata count", () => new GgufWriter { MetadataCount = 60_000 }.Add(Eight).ToArray(), "which cannot fit in the remaining" },
        { "huge key", () => Raw(w => w.Write(ulong.MaxValue)), "a metadata key claims 18446744073709551615 bytes; at most 65535" },
        { "huge string", () => new GgufWriter().AddRaw("k", w => { w.Write(8u); w.Write(1UL << 40); }).ToArray(), "k claims 1099511627776 bytes" },
        { "long string", () => new GgufWriter().AddRaw("k", w => { w.Write(8u); w.Write(1UL << 25); }).ToArray(), "the file ends inside k" },
        { "huge array", () => new GgufWriter().AddRaw("k", w => { w.Write(9u); w.Write(8u); w.Write(ulong.MaxValue); }).ToArray(), "an array length is 18446744073709551615" },
        { "large array of arrays", () => new GgufWriter().AddRaw("k", w => { w.Write(9u); w.Write(9u); w.Write(50_000_000UL); }).ToArray(), "an array length is 50000000, which cannot fit" },
        { "unknown value type", () => new GgufWriter().AddRaw("k", w => { w.Write(13u); w.Write(0UL); }).ToArray(), "13 is not a metadata value type" },
        { "duplicate key", () => new GgufWriter().Add("k", 1).Add("k", 1).ToArray(), "metadata 'k' occurs twice" },
        { "empty key", () => new GgufWriter().Add("", 1).ToArray(), "a metadata key is empty" },
        { "nesting", () => new GgufWriter().AddRaw("k", w => { w.Write(9u); for (int i = 0; i < 100_000; i++) { w.Write(9u); w.Write(1UL); } }).ToArray(), "metadata 'k' nests arrays deeper than 4" },
        { "duplicate tensor", () => new GgufWriter().Add(Eight).Add(Eight).ToArray(), "tensor 't' occurs twice" },
        { "no dimensions", () => new GgufWriter().Add(Eight, dimensions: []).ToArray(), "tensor 't' has 0 dimensions" },
        { "five dimensions", () => new GgufWriter().Add(Eight, dimensions: [1, 1, 1, 1, 1]).ToArray(), "tensor 't' has 5 dimensions" },
        { "zero dimension", () => new GgufWriter().Add(Eight, dimensions: [4, 0]).ToArray(), "tensor 't' has a dimension of 0" },
        { "huge dimension", () => new GgufWriter().Add(Eight, dimensions: [ulong.MaxValue]).ToArray(), "tensor 't' has a dimension of 18446744073709551615" },
        { "overflowing product", () => new GgufWriter().Add(Eight, dimensions: [1UL << 32, 1UL << 32]).ToArray(), "tensor 't' of shape [4294967296, 4294967296] is too large" },
        { "overflowing bytes", () => new GgufWriter().Add(Eight, dimensions: [1UL << 62]).ToArray(), "is too large" },
        { "more than there is", () => new GgufWriter().Add(Eight, dimensions: [9]).ToArray(), "tensor 't' needs 36 bytes at offset 0 of only 32 bytes of data" },
        { "overflowing offset", () => new GgufWriter().Add(Eight, offset: ulong.MaxValue - 31).ToArray(), "tensor 't' begins at offset 18446744073709551584 of only 32" },
        { "offset at the end", () => new GgufWriter().Add(Eight, offset: 32).ToArray(), "tensor 't' begins at offset 32 of only 32 bytes" },
        { "misaligned offset", () => new GgufWriter().Add(Eight, offset: 16).ToArray(), "tensor 't' is at offset 16, which is not a multiple of the alignment 32" },
        { "overlap", () => new GgufWriter().Add(Eight).Add(Eight with { Name = "u" }, offset: 0).ToArray(), "tensors 't' and 'u' overlap" },
        { "broken block", () => new GgufWriter().Add(Eight, type: 2).ToArray(), "rows of 4 elements, which is not a multiple of the Q4_0 block of 32" },
        { "alignment 0", () => new GgufWriter().Add("general.alignment", 0u).Add(Eight).ToArray(), "general.alignment is 0; it must be a power of two" },
        { "alignment 48", () => new GgufWriter().Add("general.alignment", 48u).Add(Eight).ToArray(), "general.alignment is 48" },
        { "huge alignment", () => new GgufWriter().Add("general.alignment", 1UL << 40).Add(Eight).ToArray(), "general.alignment is 1099511627776" },
        { "alignment as text", () => new GgufWriter().Add("general.alignment", "32").Add(Eight).ToArray(), "'general.alignment' must be an integer but is String" },
        { "version 1", () => new GgufWriter { Version = 1 }.Add(Eight).ToArray(), "GGUF version 1 is not supported" },
        { "version 4", () => new GgufWriter { Version = 4 }.Add(Eight).ToArray(), "GGUF version 4 is not supported; supported are 2 and 3" },
        { "big-endian", () => new GgufWriter { Version = 0x0300_0000 }.Add(Eight).ToArray(), "big-endian" },
        { "part of a split", () => new GgufWriter().Add("split.count", (ushort)3).Add(Eight).ToArray(), "one of 3 parts of a split model" },
        { "other magic", () => "safetensors, or what?"u8.ToArray(), "not a GGUF file" },
    };

    [Theory]
    [MemberData(nameof(HostileFiles), DisableDiscoveryEnumeration = true)]
    public void Open_HostileFile_SaysWhatIsWrong(string name, Func<byte[]> file, string problem)
    {
        ModelFileException? e = Hostile.OpenGguf(directory.Write("model.gguf", file()), name);
        Assert.NotNull(e);
        Assert.Contains(problem, e.Message);
    }

    /// <summary>A header whose first metadata entry is written by hand.</summary>
    static byte[] Raw(Action<BinaryWriter> entry)
    {
        MemoryStream stream = new();
        BinaryWriter w = new(stream);
        w.Write(GgufFile.Magic);
        w.Write(3u);
        w.Write(0UL);
        w.Write(1UL);
        entry(w);
        w.Write(new byte[64]);
        return stream.ToArray();
    }

    /// <summary>Everything before the first tensor's data.</summary>
    int HeaderLength(byte[] whole)
    {
        using GgufFile file = GgufFile.Open(directory.Write("whole.gguf", whole));
        return (int)file.Tensors.Values.Min(t => t.Offset);
    }
}
