using System.Runtime.InteropServices;

namespace LongCtx.Conversations.Local;

/// <summary>
/// Which sequences are in the pool and what they hold, so that a request can continue one. Matching is by messages; behind the last
/// common message it is by token ids. Pure book-keeping: sequences are opaque here. Thread-safe.
/// </summary>
/// <param name="entriesMax">Most sequences to remember; the least recently used idle one beyond it is dropped.</param>
/// <param name="isHeld">Whether a sequence's keys are still in the pool.</param>
/// <param name="drop">Frees a sequence that is no longer remembered.</param>
internal sealed class PromptCache<T>(int entriesMax, Func<T, bool> isHeld, Action<T> drop) where T : class
{
    /// <summary>A sequence that begins with the first messages of a request, up to <paramref name="Mark"/>.</summary>
    /// <param name="TokensMax">No more of it than this can be used: the rest is known to be out of reach.</param>
    public sealed record Candidate(CachedSequence<T> Entry, PromptMark Mark, int TokensMax = int.MaxValue);

    readonly Lock _gate = new();
    readonly List<CachedSequence<T>> _entries = [];
    long _uses;

    public int Count { get { lock (_gate) return _entries.Count; } }

    /// <summary>For each sequence of the scope the longest beginning it shares with the chat; never empty-handed, since all begin alike.</summary>
    public List<Candidate> Match(PromptScope scope, MessageChain chain)
    {
        lock (_gate)
        {
            _entries.RemoveAll(e => e.Users == 0 && !isHeld(e.Sequence));
            var found = new List<Candidate>();
            foreach (var entry in _entries)
                if (entry.Scope == scope && Deepest(entry, chain, int.MaxValue) is { } mark) found.Add(new(entry, mark));
            return found;
        }
    }

    /// <summary>The next shorter beginning of the same sequence that ends with a message.</summary>
    public Candidate? Shorter(Candidate candidate, MessageChain chain)
    {
        lock (_gate)
        {
            var mark = candidate.Entry.Marks.FindLast(m => PromptMark.ByTokens(m, candidate.Mark) < 0 && Fits(m, chain));
            return mark is null ? null : candidate with { Mark = mark };
        }
    }

    /// <summary>The longest beginning of the same sequence within so many tokens.</summary>
    public Candidate? Within(Candidate candidate, MessageChain chain, int tokensMax)
    {
        lock (_gate)
            return Deepest(candidate.Entry, chain, tokensMax) is { } mark ? candidate with { Mark = mark, TokensMax = tokensMax } : null;
    }

    /// <summary>How many of <paramref name="ids"/> the sequence has right behind the candidate's mark.</summary>
    public int CommonLength(Candidate candidate, ReadOnlySpan<int> ids)
    {
        lock (_gate)
        {
            var recorded = CollectionsMarshal.AsSpan(candidate.Entry.Ids)[candidate.Mark.Tokens..];
            int room = Math.Max(0, candidate.TokensMax - candidate.Mark.Tokens);
            return ids.CommonPrefixLength(recorded[..Math.Min(recorded.Length, room)]);
        }
    }

    /// <summary>Keeps a sequence from being dropped while it is continued or forked; false when it is gone already.</summary>
    public bool TryEnter(CachedSequence<T> entry)
    {
        lock (_gate)
        {
            if (!_entries.Contains(entry)) return false;
            entry.Users++;
            entry.LastUse = ++_uses;
            return true;
        }
    }

    public void Leave(CachedSequence<T> entry)
    {
        lock (_gate) entry.Users--;
        Trim();
    }

    /// <summary>The first <paramref name="tokens"/> tokens and the marks up to <paramref name="mark"/>: what a fork begins with.</summary>
    public (int[] Ids, PromptMark[] Marks) Beginning(CachedSequence<T> entry, PromptMark mark, int tokens)
    {
        lock (_gate)
        {
            int marks = entry.Marks.IndexOf(mark) + 1;
            return (entry.Ids.GetRange(0, tokens).ToArray(), entry.Marks.GetRange(0, marks).ToArray());
        }
    }

    /// <summary>The last of the first <paramref name="tokens"/> tokens, at most <paramref name="countMax"/>.</summary>
    public int[] Newest(CachedSequence<T> entry, int tokens, int countMax)
    {
        int count = Math.Min(tokens, countMax);
        lock (_gate) return [.. entry.Ids.GetRange(tokens - count, count)];
    }

    /// <summary>Remembers a running sequence; the caller has entered it.</summary>
    public CachedSequence<T> Add(PromptScope scope, T sequence, IEnumerable<int> ids, IEnumerable<PromptMark> marks)
    {
        var entry = new CachedSequence<T>(scope, sequence, ids, marks);
        lock (_gate)
        {
            entry.Users = 1;
            entry.LastUse = ++_uses;
            _entries.Add(entry);
        }
        Trim();
        return entry;
    }

    /// <summary>The sequence has grown.</summary>
    public void Extend(CachedSequence<T> entry, ReadOnlySpan<int> ids, IEnumerable<PromptMark> marks)
    {
        lock (_gate)
        {
            entry.Ids.AddRange(ids);
            entry.Marks.AddRange(marks);
            entry.Marks.Sort(PromptMark.ByTokens); // messages may also end inside what was already there
        }
    }

    /// <summary>Forgets a sequence that failed; the caller drops it.</summary>
    public void Remove(CachedSequence<T> entry)
    {
        lock (_gate) _entries.Remove(entry);
    }

    void Trim()
    {
        List<CachedSequence<T>> gone = [];
        lock (_gate)
        {
            while (_entries.Count > entriesMax && _entries.Where(e => e.Users == 0).MinBy(e => e.LastUse) is { } oldest)
            {
                _entries.Remove(oldest);
                gone.Add(oldest);
            }
        }
        foreach (var entry in gone) drop(entry.Sequence);
    }

    static PromptMark? Deepest(CachedSequence<T> entry, MessageChain chain, int tokensMax) =>
        entry.Marks.FindLast(m => m.Tokens <= tokensMax && Fits(m, chain));

    static bool Fits(PromptMark mark, MessageChain chain) => mark.Messages <= chain.Messages && chain[mark.Messages] == mark.Chain;
}
