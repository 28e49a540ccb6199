using LongCtx.Silo.Streams;
using MessagePack;

namespace LongCtx.Silo.Tests;

/// <summary>The generated code of this project, apart from the silo's.</summary>
[GeneratedMessagePackResolver]
internal sealed partial class TestResolver;

/// <summary>Stream payloads come from anybody: they are read as written, by older and newer versions alike, and refused when they are nothing.</summary>
public sealed class PayloadTests
{
    static readonly TokenBatch s_tokens = TokenBatch.Of("conv_1",
    [
        new Delta("a \0 text, ä€𝄞") { Seq = 7, Epoch = 2, Turn = 3, At = 4, TokenStart = 5, TokenCount = 6 },
        new Evicted(1, 2, 3, "hash") { Seq = 8, TailSeq = 9 },
    ]);

    static readonly IngestBatch s_ingest = new("producer", 12, [new("user", "text"), new("system", "")]);

    [Fact]
    public void WhatIsWritten_IsRead()
    {
        var tokens = Payloads.Read<TokenBatch>(Payloads.Write(s_tokens));
        Assert.Equal(s_tokens.Conversation, tokens.Conversation);
        Assert.Equal(s_tokens.ToEvents(), tokens.ToEvents());
        var ingest = Payloads.Read<IngestBatch>(Payloads.Write(s_ingest));
        Assert.Equal((s_ingest.Producer, s_ingest.Number), (ingest.Producer, ingest.Number));
        Assert.Equal(s_ingest.Messages, ingest.Messages);
    }

    [MessagePackObject]
    public sealed record NewerBatch([property: Key(0)] string Conversation, [property: Key(1)] IReadOnlyList<NewerEvent> Events, [property: Key(2)] string Added);

    [MessagePackObject]
    public sealed record NewerEvent([property: Key(0)] long Seq, [property: Key(1)] string Body, [property: Key(2)] int Added);

    [Fact]
    public void ANewerVersionsFields_AreSkipped_AndAnOlderVersionsMissing()
    {
        var newer = new NewerBatch("conv_1", [.. s_tokens.Events.Select(e => new NewerEvent(e.Seq, e.Body, 1))], "more");
        Assert.Equal(s_tokens.ToEvents(), Payloads.Read<TokenBatch>(Payloads.Write(newer)).ToEvents());
        var older = Payloads.Read<NewerBatch>(Payloads.Write(s_tokens));
        Assert.Equal((2, null), (older.Events.Count, older.Added));
    }

    [Fact]
    public void HostileBytes_AreRefused()
    {
        byte[][] hostile =
        [
            [], [0xc1], [0xdd, 0x7f, 0xff, 0xff, 0xff], [0x92, 0xdb, 0x7f, 0xff, 0xff, 0xff], [.. Enumerable.Repeat((byte)0x91, 100_000)], [0xc0], [0x92, 0xc0, 0x91, 0xc0],
        ];
        foreach (byte[] bytes in hostile) Refused(bytes);

        const int Seed = 5;
        var random = new Random(Seed);
        byte[] good = Payloads.Write(s_tokens);
        long before = GC.GetTotalAllocatedBytes();
        for (int i = 0; i < 20_000; i++)
        {
            byte[] bytes = [.. good[..random.Next(good.Length)], .. good[random.Next(good.Length)..]];
            if (bytes.Length > 0) bytes[random.Next(bytes.Length)] ^= (byte)(1 << random.Next(8));
            try
            {
                Payloads.Read<TokenBatch>(bytes);
            }
            catch (MessagePackSerializationException)
            {
                // As it should be.
            }
        }

        Assert.InRange(GC.GetTotalAllocatedBytes() - before, 0, 2L << 30); // 100 kB each, with the exceptions

        static void Refused(byte[] bytes)
        {
            try
            {
                TokenBatch? read = Payloads.Read<TokenBatch>(bytes);
                Assert.True(read is null || read.Events is null || read.Events.Contains(null!), "nonsense was read as a batch");
            }
            catch (MessagePackSerializationException)
            {
                // As it should be.
            }
        }
    }
}
