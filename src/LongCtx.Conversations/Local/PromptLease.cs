namespace LongCtx.Conversations.Local;

/// <summary>One request's use of a sequence, from the choice of the sequence to the end of its reply.</summary>
internal sealed class PromptLease<T> where T : class
{
    readonly PromptCache<T> _cache;
    readonly PromptScope _scope;
    readonly MessageChain _chain;
    readonly int[] _ids;
    readonly List<PromptMark> _marks;
    CachedSequence<T>? _entry;
    bool _promptKnown;
    bool _ended;

    /// <param name="cache">Where the sequence is, or will be, remembered.</param>
    /// <param name="scope">Whose sequence it is.</param>
    /// <param name="chain">The request's messages.</param>
    /// <param name="sequence">Pinned for this request.</param>
    /// <param name="entry">Its cache entry, already entered, where it is continued itself; null for a fork and for a new one.</param>
    /// <param name="ids">What a fork begins with.</param>
    /// <param name="marks">Its marks.</param>
    /// <param name="tailStart">Where in the sequence the tail begins.</param>
    /// <param name="cached">Tokens that the sequence holds already; the tail's first tokens may be among them.</param>
    /// <param name="tail">The prompt from <paramref name="tailStart"/> on.</param>
    public PromptLease(PromptCache<T> cache, PromptScope scope, MessageChain chain, T sequence, CachedSequence<T>? entry,
        int[] ids, PromptMark[] marks, int tailStart, int cached, PromptTail tail)
    {
        (_cache, _scope, _chain, _entry, _ids) = (cache, scope, chain, entry, ids);
        _marks = [.. marks, .. tail.MessageEnds.Select(e => new PromptMark(e.Messages, chain[e.Messages], tailStart + e.Tokens))];
        Sequence = sequence;
        Cached = cached;
        int skipped = cached - tailStart;
        Fed = tail.Ids[skipped..];
        TurnStarts = [.. tail.TurnStarts.Where(t => t >= skipped).Select(t => t - skipped)];
    }

    public T Sequence { get; }

    /// <summary>Tokens of the prompt that need no computing.</summary>
    public int Cached { get; }

    /// <summary>The others, at least one.</summary>
    public int[] Fed { get; }

    /// <summary>Offsets in <see cref="Fed"/>.</summary>
    public int[] TurnStarts { get; }

    public int PromptTokens => Cached + Fed.Length;

    /// <summary>The whole prompt is in the sequence: from now on others can share it.</summary>
    public void PromptFed()
    {
        if (_promptKnown) return;
        _promptKnown = true;
        Grow(Fed, _marks);
    }

    /// <summary>
    /// The generation has ended, by itself or cancelled. False when the sequence is of no use to anyone; then the caller drops it,
    /// otherwise it releases it; afterwards it calls <see cref="Leave"/>.
    /// </summary>
    /// <param name="count">Tokens that the sequence holds now.</param>
    /// <param name="generated">The generated ones among them.</param>
    /// <param name="reply">The whole reply, as the client got it.</param>
    /// <param name="beyond">The end of the reply that the tokens do not cover.</param>
    public bool Finish(long count, IReadOnlyList<int> generated, string reply, string beyond)
    {
        long fed = count - Cached - generated.Count;
        if (fed < Fed.Length && generated.Count == 0) return Stop(count);
        if (fed != Fed.Length) return Forget();

        PromptFed();
        PromptMark[] end = _chain.Messages == 0 ? []
            : [new(_chain.Messages + 1, MessageChain.Next(_chain[_chain.Messages], "assistant", reply), (int)count, beyond)];
        _cache.Extend(_entry!, [.. generated], end);
        return true;
    }

    /// <summary>The generation was refused, or ended before the whole prompt was in: what is in stays useful. Result as for <see cref="Finish"/>.</summary>
    public bool Stop(long count)
    {
        int fed = (int)Math.Clamp(count - Cached, -1, Fed.Length + 1);
        if (_promptKnown || fed < 0 || fed > Fed.Length || (fed == 0 && _entry is null)) return Forget();
        Grow(Fed[..fed], _marks.Where(m => m.Tokens <= count));
        return true;
    }

    bool Forget()
    {
        if (_entry is not null) _cache.Remove(_entry);
        _entry = null;
        return false;
    }

    /// <summary>The sequence is no longer used by this request.</summary>
    public void Leave()
    {
        if (!_ended && _entry is not null) _cache.Leave(_entry);
        _ended = true;
    }

    void Grow(int[] fed, IEnumerable<PromptMark> known)
    {
        if (_entry is null) _entry = _cache.Add(_scope, Sequence, [.. _ids, .. fed], known);
        else _cache.Extend(_entry, fed, known);
    }
}
