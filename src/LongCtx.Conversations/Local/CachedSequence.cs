using LongCtx.Engine.Cache;

namespace LongCtx.Conversations.Local;

/// <summary>Only sequences of one scope can serve each other. Tenants never share.</summary>
/// <param name="Adapter">Digest of the adapter that all of a sequence was computed under; empty for none.</param>
internal sealed record PromptScope(string Tenant, string Model, string Adapter, AttentionPolicy Policy);

/// <summary>The first <paramref name="Tokens"/> tokens of a sequence are the messages that <paramref name="Chain"/> names.</summary>
/// <param name="Messages">How many messages.</param>
/// <param name="Chain">Their key, see <see cref="MessageChain"/>.</param>
/// <param name="Tokens">Where they end in the sequence.</param>
/// <param name="Beyond">Null where the last message is closed as the template closes it. Otherwise the last message is a generated
/// reply that is still open, and this is the end of its text that the tokens do not cover (mostly empty).</param>
internal sealed record PromptMark(int Messages, UInt128 Chain, int Tokens, string? Beyond = null)
{
    public static readonly PromptMark Start = new(0, MessageChain.Empty, 0);

    public static readonly Comparison<PromptMark> ByTokens = (a, b) => (a.Tokens, a.Messages).CompareTo((b.Tokens, b.Messages));

    public bool IsOpenReply => Beyond is not null;
}

/// <summary>A sequence in the pool with what was fed to it. Guarded by the lock of its <see cref="PromptCache{T}"/>.</summary>
internal sealed class CachedSequence<T>(PromptScope scope, T sequence, IEnumerable<int> ids, IEnumerable<PromptMark> marks)
{
    public PromptScope Scope { get; } = scope;

    public T Sequence { get; } = sequence;

    /// <summary>Every token of the sequence, the evicted ones included: a sequence that only appends never changes its past.</summary>
    public List<int> Ids { get; } = [.. ids];

    /// <summary>In the order of their tokens; the first is <see cref="PromptMark.Start"/>.</summary>
    public List<PromptMark> Marks { get; } = [.. marks];

    /// <summary>Requests that use it now: it is running, or about to be forked.</summary>
    public int Users { get; set; }

    public long LastUse { get; set; }
}
