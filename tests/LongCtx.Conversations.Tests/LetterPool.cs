using LongCtx.Conversations.Local;
using LongCtx.Engine.Cache;

namespace LongCtx.Conversations.Tests;

/// <summary>Sequences that are lists of ids, under the same contract as the engine's: what the prompt cache decides is seen in them.</summary>
internal sealed class LetterPool
{
    public sealed class Sequence
    {
        public List<int> Ids { get; init; } = [];
        public bool IsHeld { get; set; } = true;
        public bool IsPinned { get; set; } = true;

        /// <summary>A beginning between the sinks and this has lost keys it needs.</summary>
        public int ReachableFrom { get; set; }
    }

    public static readonly AttentionPolicy Policy = new(Sinks: 40, Neighbours: 1, Group: 1, Capacity: 0, Block: 1);

    public LetterPool(int entriesMax = 1000)
    {
        Cache = new(entriesMax, s => s.IsHeld, s => s.IsHeld = false);
        Starter = new(Cache, (s, length, newest) => ValueTask.FromResult(Reuse(s, length, newest)));
    }

    public PromptCache<Sequence> Cache { get; }

    public PromptStarter<Sequence> Starter { get; }

    public int ReuseCalls { get; private set; }

    Sequence? Reuse(Sequence source, int length, ReadOnlyMemory<int> newest)
    {
        ReuseCalls++;
        Assert.InRange(length, 1, source.Ids.Count);
        Assert.Equal(source.Ids[Math.Max(0, length - SamplingOptions.PenaltyWindowMax)..length], newest.ToArray());
        if (!source.IsHeld || (length > Policy.Sinks && length < source.ReachableFrom)) return null;
        if (length < source.Ids.Count || source.IsPinned) return new() { Ids = source.Ids.GetRange(0, length), ReachableFrom = source.ReachableFrom };
        source.IsPinned = true;
        return source;
    }

    public async Task<PromptLease<Sequence>> StartAsync(ChatFormat format, ChatMessage[] messages, string tenant = "a")
    {
        var prompt = new ChatPrompt(format, messages);
        return await Starter.StartAsync(new(tenant, "m", "", Policy), new(messages), () => new Sequence(),
            mark => mark.Beyond is { } beyond ? prompt.AfterReply(mark.Messages, beyond) : prompt.From(mark.Messages), TestContext.Current.CancellationToken);
    }

    /// <summary>Feeds the prompt and generates the reply; its last <paramref name="uncovered"/> letters are text without tokens.</summary>
    public static void Run(PromptLease<Sequence> lease, string reply, int uncovered = 0)
    {
        lease.Sequence.Ids.AddRange(lease.Fed);
        lease.PromptFed();
        End(lease, reply, uncovered);
    }

    public static void End(PromptLease<Sequence> lease, string reply, int uncovered = 0)
    {
        int[] generated = LetterFormat.Generated(reply[..^uncovered]);
        lease.Sequence.Ids.AddRange(generated);
        Assert.True(lease.Finish(lease.Sequence.Ids.Count, generated, reply, reply[^uncovered..]));
        lease.Sequence.IsPinned = false;
        lease.Leave();
    }

    public async Task<PromptLease<Sequence>> RunAsync(ChatFormat format, ChatMessage[] messages, string reply, int uncovered = 0, string tenant = "a")
    {
        var lease = await StartAsync(format, messages, tenant);
        Run(lease, reply, uncovered);
        return lease;
    }
}
