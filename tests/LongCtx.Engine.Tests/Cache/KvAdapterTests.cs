using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;
using LongCtx.Engine.Tests.Adapters;
using LongCtx.Engine.Tests.Models;

namespace LongCtx.Engine.Tests.Cache;

/// <summary>Which adapter version each block was computed under: that of its first key, through forks, copies, crossings and saved states.</summary>
public sealed class KvAdapterTests
{
    const int Size = BlockPool.BlockSize;
    static readonly LoraWeights One = PeftAdapter.Random(TinyModel.Decoder, 1), Two = PeftAdapter.Random(TinyModel.Decoder, 2);

    static void Append(KvSequence sequence, int tokens, LoraWeights? adapter)
    {
        sequence.Adapter = adapter;
        Assert.True(sequence.TryReserve(tokens, []));
        sequence.Commit(tokens);
    }

    static string[] Near(KvSequence sequence) => [.. sequence.State.Adapters.Near.Runs.SelectMany(run => Enumerable.Repeat(run.Digest, run.Count))];

    [Fact]
    public void Blocks_HaveTheVersionOfTheirFirstKey()
    {
        var pool = new BlockPool(20);
        var sequence = new KvSequence(pool, new(0, 1, 1, 0, 1));
        Append(sequence, Size + 1, null);
        Append(sequence, Size, One); // fills the second block and begins the third
        Append(sequence, 2 * Size, Two);
        Append(sequence, 1, null);
        Assert.Equal(["", "", One.Digest, Two.Digest, Two.Digest], Near(sequence));
        Assert.Equal("", sequence.OldestAdapter);

        KvSequence fork = sequence.Fork();
        Append(fork, 1, One); // a copy of the last block keeps its tag
        Assert.Equal(Near(sequence), Near(fork));
        Assert.NotEqual(sequence.Near.Ids[^1], fork.Near.Ids[^1]);
        Append(fork, Size, One);
        Assert.Equal([.. Near(sequence), One.Digest], Near(fork));

        fork.Truncate(2 * Size); // whole blocks go, and what comes then is computed under what holds then
        Append(fork, 1, Two);
        Assert.Equal(["", "", Two.Digest], Near(fork));
        sequence.Dispose();
        Assert.Equal(1, pool.Adapters.Count);
        fork.Dispose();
        fork.Dispose();
        Assert.Equal((pool.BlockCount, 0), (pool.FreeCount, pool.Adapters.Count));
    }

    [Fact]
    public void OldestAdapter_FollowsTheWindow_AndFarBlocksKeepTheirSourcesVersion()
    {
        var pool = new BlockPool(200);
        var sequence = new KvSequence(pool, new(4, 64, 4, 512, 4));
        Append(sequence, 200, One);
        Assert.Equal(One.Digest, sequence.OldestAdapter);
        List<string> oldest = [];
        for (int i = 0; i < 70; i++)
        {
            Append(sequence, 16, i < 30 ? Two : null);
            if (oldest.LastOrDefault() != sequence.OldestAdapter) oldest.Add(sequence.OldestAdapter);
            Assert.All(sequence.State.Adapters.SinksFar.Runs.Concat(sequence.State.Adapters.SinksNear.Runs), run => Assert.Equal(One.Digest, run.Digest));
            for (long b = Math.Max(sequence.Near.First, sequence.Far.First); b < Math.Min(sequence.Near.End, sequence.Far.End); b++)
                Assert.Equal(pool.AdapterOf(sequence.Near[b]), pool.AdapterOf(sequence.Far[b]));
        }

        Assert.Equal([One.Digest, Two.Digest, ""], oldest);
        Assert.Equal(1, pool.Adapters.Count); // the sinks' version; the other has left the window

        KvState state = sequence.State;
        KvSequence restored = KvSequence.Restore(pool, state);
        Assert.Equal(state.Adapters, restored.State.Adapters);
        restored.Dispose();
        sequence.Dispose();
        Assert.Equal((pool.BlockCount, 0), (pool.FreeCount, pool.Adapters.Count));
    }

    [Fact]
    public async Task SetAdapter_TakesEffectWithTheNextToken_AndRefusesAForeignVersion()
    {
        await using var engine = new InferenceEngine(new EngineOptions { Threads = 2, KvMemoryBytes = 16 << 20 });
        DecoderModel model = await engine.LoadDecoderAsync(Repository.Pg19, "pg19-7m");
        LoraWeights adapter = PeftAdapter.Random(model.Config, 1, spread: 0.4f);
        int[] text = [.. Enumerable.Range(0, 150).Select(i => 300 + 7 * i % 500)];

        int[] plain = await RunAsync(null, null), adapted = await RunAsync(adapter, adapter);
        Assert.NotEqual(plain, adapted);
        Assert.NotEqual(adapted, await RunAsync(null, adapter));
        Assert.Equal(plain, await RunAsync(null, null)); // nothing of it stays
        Assert.Equal(adapted, await RunAsync(adapter, adapter));
        Assert.Contains("does not fit pg19-7m", Assert.Throws<LongCtxException>(() => engine.CreateSequence(model, new(4, 64, 1, 256, 4), One)).Message);

        async Task<int[]> RunAsync(LoraWeights? prompt, LoraWeights? reply)
        {
            Sequence sequence = engine.CreateSequence(model, new(4, 64, 1, 256, 4), prompt);
            await engine.Submit(new() { Sequence = sequence, Tokens = text, FeedOnly = true }).Completion;
            sequence.SetAdapter(reply);
            GenerationResult result = await engine.Submit(new() { Sequence = sequence, Tokens = text.AsMemory(0, 1), MaxTokens = 30 }).Completion;
            Assert.Equal(prompt?.Digest ?? "", sequence.Cache.OldestAdapter);
            sequence.Drop();
            return [.. result.Ids];
        }
    }
}
