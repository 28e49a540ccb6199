using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;
using LongCtx.Engine.States;
using LongCtx.Engine.Tests.Adapters;
using LongCtx.Engine.Tests.Files;

namespace LongCtx.Engine.Tests.States;

/// <summary>Foreign, truncated, damaged and made-up files: refused with the name of the file and the reason, with no block lost.</summary>
public sealed class HostileSequenceFileTests : IAsyncLifetime
{
    const int ChecksumBytes = 32;

    /// <summary>Beside the file itself: buffers of a slice (pooled), handles, the exception.</summary>
    const long AllocationBase = 1 << 20;

    static readonly AttentionPolicy Rule = new(4, 64, 2, 128, 4);
    readonly TemporaryDirectory _directory = new();
    readonly InferenceEngine _engine = new(new EngineOptions { Threads = 1, KvMemoryBytes = 16 << 20 });
    DecoderModel _model = null!;
    LoraWeights _adapter = null!;
    byte[] _good = [];

    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _model = await _engine.LoadDecoderAsync(Repository.Pg19, "pg19-7m");
        _adapter = PeftAdapter.Random(_model.Config, seed: 1, rank: 2);
        Sequence sequence = _engine.CreateSequence(_model, Rule);
        sequence.SetAdapter(_adapter);
        int[] tokens = [.. Enumerable.Range(0, 150).Select(i => 300 + 7 * i % 500)];
        await _engine.Submit(new() { Sequence = sequence, Tokens = tokens, TurnStarts = [0, 40, 90, 120], MaxTokens = 3 }).Completion;
        using var file = new MemoryStream();
        await _engine.SaveAsync(sequence, file, new Dictionary<string, string> { ["seq"] = "5" }, Cancellation);
        _good = file.ToArray();
        sequence.Drop();
    }

    public async ValueTask DisposeAsync()
    {
        await _engine.DisposeAsync();
        _directory.Dispose();
    }

    /// <summary>Null when it was loaded; that has to work then.</summary>
    async Task<SequenceFileException?> LoadAsync(ReadOnlyMemory<byte> file, string context, AttentionPolicy? policy = null, bool withAdapter = true)
    {
        string path = _directory.Write("state.safetensors", file.Span);
        SequenceFileException? refusal = null;
        long before = GC.GetTotalAllocatedBytes();
        try
        {
            Sequence sequence = (await _engine.LoadSequenceAsync(_model, path, policy ?? Rule, withAdapter ? _adapter : null, Cancellation)).Sequence;
            if (sequence.Count > 0) await _engine.Submit(new() { Sequence = sequence, Tokens = (int[])[5, 6], MaxTokens = 3 }).Completion;
            sequence.Drop();
        }
        catch (SequenceFileException e)
        {
            refusal = e;
        }
        catch (LongCtxException e) when (e.Code is ErrorCode.InvalidRequest or ErrorCode.QueueFull && e.Message.Contains("KV", StringComparison.Ordinal))
        {
            refusal = new(path, e.Message); // one that holds more than the server can
        }
        catch (Exception e)
        {
            Assert.Fail($"{context}: {e}");
        }

        long allocated = GC.GetTotalAllocatedBytes() - before;
        Assert.True(allocated < AllocationBase + 64L * file.Length, $"{context}: {allocated} bytes allocated for a file of {file.Length}");
        await _engine.BetweenSteps(() => 0);
        Assert.True(_engine.Status.BlocksUsed == 0, $"{context}: {_engine.Status.BlocksUsed} blocks are lost");
        if (refusal is not null) Assert.Equal((context, path), (context, refusal.File));
        return refusal;
    }

    int HeaderLength => 8 + (int)BinaryPrimitives.ReadInt64LittleEndian(_good);

    /// <summary>The good file with another header or other numbers, and the right checksum for it.</summary>
    byte[] Forge(Action<JsonObject> header, Action<byte[]>? payload = null)
    {
        JsonObject json = JsonNode.Parse(_good.AsSpan(8, HeaderLength - 8))!.AsObject();
        header(json);
        return Forge(Encoding.UTF8.GetBytes(json.ToJsonString()), payload);
    }

    byte[] Forge(byte[] json, Action<byte[]>? payload = null)
    {
        byte[] numbers = _good[HeaderLength..^ChecksumBytes];
        payload?.Invoke(numbers);
        byte[] length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, json.Length);
        byte[] file = [.. length, .. json, .. numbers];
        return [.. file, .. SHA256.HashData(file)];
    }

    static Action<JsonObject> Set(string name, string value) => json => json["__metadata__"]![name] = value;

    [Fact]
    public async Task Load_OfTheFileItself_Works()
    {
        Assert.Null(await LoadAsync(_good, "as it is"));
        Assert.Null(await LoadAsync(Forge(_ => { }), "written anew by another program"));
    }

    [Fact]
    public async Task Load_OfAForeignFile_NamesTheDifference()
    {
        Assert.Contains("its policy is 4,64,2,128,4 instead of 4,64,2,132,4", (await LoadAsync(_good, "policy", Rule with { Capacity = 132 }))!.Problem);
        Assert.Contains($"its adapter is '{_adapter.Digest[..12]}...' instead of ''", (await LoadAsync(_good, "adapter", withAdapter: false))!.Problem);
        Assert.Contains("another model", (await LoadAsync(Forge(Set("model", new string('0', 64))), "model"))!.Problem);
        Assert.Contains("laid out", (await LoadAsync(Forge(Set("layout", "cuda-1")), "layout"))!.Problem);
        Assert.Contains("laid out", (await LoadAsync(Forge(Set("kv_heads", "3")), "heads"))!.Problem);
        Assert.Contains("version 1", (await LoadAsync(Forge(Set("version", "1")), "version"))!.Problem);
        foreach (string runs in (string[])["", "base", "base*0", "base*-1", "base*9999999999", "base*1", "base*1,", "a1b2*2", _adapter.Digest.ToUpperInvariant() + "*2", $"{_adapter.Digest}*1,base*2"])
            Assert.Contains("adapter", (await LoadAsync(Forge(Set("near.adapters", runs)), "runs " + runs))!.Problem);
        Assert.Contains("blocks of 128 tokens", (await LoadAsync(Forge(Set("block_size", "128")), "block size"))!.Problem);
        Assert.Contains("is not a LongCtx sequence", (await LoadAsync(Forge(Set("format", "pt")), "format"))!.Problem);
        Assert.Contains("says no 'format'", (await LoadAsync(Forge(j => j.Remove("__metadata__")), "no metadata"))!.Problem);
        byte[] model = await File.ReadAllBytesAsync(Path.Combine(Repository.Pg19, "model.safetensors"), Cancellation);
        Assert.NotNull(await LoadAsync(model, "a model"));
        await using var other = new InferenceEngine(new EngineOptions { Threads = 1, KvMemoryBytes = 64 << 20 });
        DecoderModel smol = await other.LoadDecoderAsync(Repository.SmolLM2, "smol");
        Assert.NotEqual(_model.Fingerprint, smol.Fingerprint);
        var e = await Assert.ThrowsAsync<SequenceFileException>(() => other.LoadSequenceAsync(smol, _directory.Write("state", _good), Rule, adapter: null, Cancellation));
        Assert.Contains("another model", e.Problem);
        string missing = _directory.File("missing");
        Assert.Equal(missing, (await Assert.ThrowsAsync<SequenceFileException>(() => _engine.LoadSequenceAsync(_model, missing, Rule, adapter: null, Cancellation))).File);
        Assert.NotNull(await Assert.ThrowsAsync<SequenceFileException>(() => _engine.LoadSequenceAsync(_model, _directory.Path, Rule, adapter: null, Cancellation)));
    }

    public static TheoryData<string, string, string> Claims => new()
    {
        { "count", "-1", "'-1' in 'count'" }, { "count", "200", "does not fit its tokens" }, { "count", "9223372036854775807", "out of range" }, { "count", "1e3", "'1e3' in 'count'" },
        { "count", "", "'' in 'count'" }, { "count", new string('9', 500), "99..." }, { "count", "0", "does not fit its tokens" }, { "count", "152 ", "'152 ' in 'count'" },
        { "far_from", "-5", "far_from" }, { "far_from", "150", "keys are missing" },
        { "turn_starts", "0,40,40", "out of order" }, { "turn_starts", "40,0", "out of order" }, { "turn_starts", "-4,3", "out of order" }, { "turn_starts", "a", "'a' in 'turn_starts'" },
        { "turn_starts", ",", "turn_starts" }, { "pending", "4096", "pending" }, { "pending", "-2", "pending" },
        { "recent", "1,2,4096", "beyond the vocabulary" }, { "recent", "-1", "beyond the vocabulary" }, { "recent", string.Join(',', Enumerable.Repeat(1, 154)), "154 newest tokens of 153" },
        { "near", "0,2", "does not fit" }, { "near", "1,1", "does not fit" }, { "near", "1,1000000000", "does not fit" }, { "near", "-1,4", "range of blocks" },
        { "near", "1", "range of blocks" }, { "near", "144115188075855872,2", "does not fit" }, { "near", "0,0", "keys are missing" }, { "far", "0,0", "keys are missing" }, { "sinks_far", "0,0", "keys are missing" },
        { "sinks_near", "0,1", "under which adapter they were computed" }, { "sinks_near", "99999999999999999,0", "begins at block" },
        { "policy", "4,64,2,128", "policy that cannot be" }, { "policy", "4,64,3,128,4", "policy that cannot be" }, { "policy", "4,64,2,2147483647,4", "its policy is" },
        { "layers", "0", "layers" }, { "key_dimension", "2147483647", "key_dimension" }, { "value_dimension", "32768", "laid out" },
    };

    [Theory]
    [MemberData(nameof(Claims))]
    public async Task Load_OfAFileThatClaimsTheImpossible_IsRefusedThoughItsChecksumIsRight(string name, string value, string problem)
    {
        SequenceFileException? e = await LoadAsync(Forge(Set(name, value)), $"{name} = {value}");
        Assert.NotNull(e);
        Assert.Contains(problem, e.Problem);
    }

    [Fact]
    public async Task Load_OfOtherTensorsThanASequenceHas_IsRefused()
    {
        async Task Check(Action<JsonObject> change, string problem) => Assert.Contains(problem, (await LoadAsync(Forge(change), problem))?.Problem ?? "");
        await Check(j => j.Remove("near.values"), "lacks the tensor 'near.values'");
        await Check(j => j.Remove("checksum"), "other tensors");
        await Check(j => j["checksum"]!["dtype"] = "F32", "does not fill its 32 bytes");
        await Check(j => j["more"] = JsonNode.Parse("""{"dtype":"F16","shape":[0],"data_offsets":[0,0]}"""), "other tensors");
        await Check(j => j["more"] = JsonNode.Parse("""{"dtype":"I64","shape":[0],"data_offsets":[0,0]}"""), "other tensors");
        await Check(j => j["near.keys"]!["dtype"] = "BF16", "near.keys' as BF16");
        await Check(j => ((JsonArray)j["near.keys"]!["shape"]!).Add(1), "where the sequence needs");
        await Check(j => (j["near.keys"]!["data_offsets"], j["near.values"]!["data_offsets"]) = (j["near.values"]!["data_offsets"]!.DeepClone(), j["near.keys"]!["data_offsets"]!.DeepClone()), "instead of");
        await Check(j => j["near.biases"] = JsonNode.Parse("""{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"""), "near.biases");
        Assert.Contains("valid JSON", (await LoadAsync(Forge(Encoding.UTF8.GetBytes("{\"a\":")), "broken JSON"))!.Problem);
        Assert.Contains("says no 'format'", (await LoadAsync(Forge(Encoding.UTF8.GetBytes("{}")), "an empty header"))!.Problem);
        byte[] huge = [.. BitConverter.GetBytes(long.MaxValue), .. _good.AsSpan(8)];
        Assert.Contains("announces a header of", (await LoadAsync(huge, "huge header"))!.Problem);
        Assert.NotNull(await LoadAsync((byte[])[.. _good, 0], "one byte more"));
        Assert.NotNull(await LoadAsync(ReadOnlyMemory<byte>.Empty, "empty"));
    }

    [Theory]
    [InlineData(0x7C00)] // infinity
    [InlineData(0xFC01)] // not a number
    [InlineData(0x8001)] // a denormal
    public async Task Load_OfANumberThatWouldSpread_IsRefusedThoughTheChecksumIsRight(int half)
    {
        const int seed = 5;
        var random = new Random(seed);
        foreach (int place in (int[])[0, 2 * random.Next((_good.Length - HeaderLength - ChecksumBytes) / 2), _good.Length - HeaderLength - ChecksumBytes - 2])
        {
            SequenceFileException? e = await LoadAsync(Forge(_ => { }, numbers => BinaryPrimitives.WriteUInt16LittleEndian(numbers.AsSpan(place), (ushort)half)), $"seed {seed}, place {place}");
            Assert.Contains("that no cache holds", e?.Problem);
        }
    }

    [Fact]
    public async Task Load_OfATruncatedFile_IsRefused()
    {
        const int seed = 20261123;
        var random = new Random(seed);
        int[] lengths = [0, 1, 7, 8, 9, HeaderLength - 1, HeaderLength, HeaderLength + 1, _good.Length - ChecksumBytes, _good.Length - 1, .. Enumerable.Range(0, 60).Select(_ => random.Next(_good.Length))];
        foreach (int length in lengths) Assert.NotNull(await LoadAsync(_good.AsMemory(0, length), $"seed {seed}, {length} of {_good.Length} bytes"));
    }

    [Fact]
    public async Task Load_WithOneBitFlippedAnywhere_IsRefused()
    {
        int seed = Environment.TickCount;
        var random = new Random(seed);
        for (int round = 0; round < 300; round++)
        {
            // Half of them in the header, where a bit changes a number without making it less plausible.
            int at = round % 2 == 0 ? random.Next(HeaderLength) : random.Next(_good.Length), bit = random.Next(8);
            byte[] flipped = [.. _good];
            flipped[at] ^= (byte)(1 << bit);
            Assert.True(await LoadAsync(flipped, $"seed {seed}, bit {bit} of byte {at}") is not null, $"seed {seed}: bit {bit} of byte {at} of {_good.Length} made no difference");
        }
    }

    [Fact]
    public async Task Load_OfARandomHeaderWithTheRightChecksum_IsRefusedOrWorks()
    {
        int seed = Environment.TickCount;
        var random = new Random(seed);
        byte[] header = _good[8..HeaderLength];
        int refused = 0;
        const int rounds = 400;
        for (int round = 0; round < rounds; round++)
        {
            byte[] mutated = round % 2 == 0 ? Hostile.Mutate(header, header.Length, random) : MutateDigits(header, random);
            if (await LoadAsync(Forge(mutated), $"seed {seed}, round {round}") is not null) refused++;
        }

        Assert.InRange(refused, rounds / 2, rounds - 1);
    }

    /// <summary>Numbers that stay numbers.</summary>
    static byte[] MutateDigits(byte[] header, Random random)
    {
        byte[] mutated = [.. header];
        for (int change = random.Next(1, 3); change > 0; change--)
        {
            int at = Array.FindIndex(mutated, random.Next(mutated.Length), b => b is >= (byte)'0' and <= (byte)'9');
            if (at >= 0) mutated[at] = (byte)('0' + random.Next(10));
        }

        return mutated;
    }
}
