namespace LongCtx.Conversations.Local;

/// <summary>One request's use of a sequence, from the choice of the sequence to the end of its reply.</summary>
internal sealed class PromptLease<T> where T : class
{
    readonly PromptCache<T> cache;
    readonly PromptScope scope;
    readonly MessageChain chain;
    readonly int[] ids;
    readonly List<PromptMark> marks;
    CachedSequence<T>? entry;
    bool promptKnown;
    bool ended;

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
        (this.cache, this.scope, this.chain, this.entry, this.ids) = (cache, scope, chain, entry, ids);
        this.marks = [.. marks, .. tail.MessageEnds.Select(e => new PromptMark(e.Messages, chain[e.Messages], tailStart + e.Tokens))];
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
        if (promptKnown) return;
        promptKnown = true;
        Grow(Fed, marks);
    }

    /// <summary>
    /// The generation has ended, by itself or cancelled, or was refused. False when the sequence is of no use to anyone; then the caller drops it, else it
    /// releases it and calls <see cref="Leave"/>.
    /// </summary>
    /// <param name="count">Tokens that the sequence holds now.</param>
    /// <param name="generated">The generated ones among them.</param>
    /// <param name="reply">The whole reply, as the client got it.</param>
    /// <param name="beyond">The end of the reply that the tokens do not cover.</param>
    public bool Finish(long count, IReadOnlyList<int> generated, string reply, string beyond)
    {
        long fed = count - Cached - generated.Count;
        if (fed < Fed.Length)
        {
            // Cancelled while the prompt was being fed: what is in stays useful.
            if (fed < 0 || generated.Count > 0 || promptKnown || (fed == 0 && entry is null)) return Forget();
            Grow(Fed[..(int)fed], marks.Where(m => m.Tokens <= count));
            return true;
        }
        if (fed > Fed.Length) return Forget();

        PromptFed();
        PromptMark[] end = chain.Messages == 0 ? []
            : [new(chain.Messages + 1, MessageChain.Next(chain[chain.Messages], "assistant", reply), (int)count, beyond)];
        cache.Extend(entry!, [.. generated], end);
        return true;
    }

    /// <summary>The sequence failed, or was never run: nobody can use it.</summary>
    public bool Forget()
    {
        if (entry is not null) cache.Remove(entry);
        entry = null;
        return false;
    }

    /// <summary>The sequence is no longer used by this request.</summary>
    public void Leave()
    {
        if (!ended && entry is not null) cache.Leave(entry);
        ended = true;
    }

    void Grow(int[] fed, IEnumerable<PromptMark> known)
    {
        if (entry is null) entry = cache.Add(scope, Sequence, [.. ids, .. fed], known);
        else cache.Extend(entry, fed, known);
    }
}
