using System.Runtime.InteropServices;
using LongCtx.Engine.Cache;

namespace LongCtx.Engine.Runtime;

public enum LogitsKind
{
    None,

    /// <summary>Of the entry's last token.</summary>
    Last,

    /// <summary>Of every token of the entry.</summary>
    All,

    /// <summary>No logits, but log p(target) for every token of the entry.</summary>
    Scored,
}

/// <summary>
/// What one step computes, and what came out. Reused from step to step; its buffers grow to the largest step seen.
/// </summary>
public sealed unsafe class StepBatch : IDisposable
{
    public readonly record struct Entry(KvSequence Sequence, int FirstRow, int RowCount, LogitsKind Kind, int FirstOutput)
    {
        /// <summary>Rows of the output that belong to this entry.</summary>
        public int OutputCount => Kind switch { LogitsKind.None => 0, LogitsKind.Last => 1, _ => RowCount };
    }

    readonly List<Entry> _entries = [];
    readonly List<int> _tokens = [];
    readonly List<int> _targets = []; // one per row; -1 where nothing is scored
    float[] _logprobs = [];
    float* _logits;
    long _logitsCapacity;
    int _vocabulary;

    public ReadOnlySpan<Entry> Entries => CollectionsMarshal.AsSpan(_entries);

    /// <summary>Token ids of all rows.</summary>
    public ReadOnlySpan<int> Tokens => CollectionsMarshal.AsSpan(_tokens);

    internal ReadOnlySpan<int> Targets => CollectionsMarshal.AsSpan(_targets);

    public int RowCount => _tokens.Count;

    /// <summary>Whether logits of a row are wanted, to be kept or to be scored.</summary>
    internal bool IsOutput(in Entry entry, int row) =>
        entry.Kind == LogitsKind.Scored ? _targets[row] >= 0 : row >= entry.FirstRow + entry.RowCount - entry.OutputCount;

    /// <summary>Rows of logits that the step keeps.</summary>
    public int LogitsRowCount { get; private set; }

    public void Clear()
    {
        _entries.Clear();
        _tokens.Clear();
        _targets.Clear();
        LogitsRowCount = 0;
    }

    /// <summary>Appends <paramref name="tokens"/> to <paramref name="sequence"/>. Returns the entry's number.</summary>
    public int Add(KvSequence sequence, ReadOnlySpan<int> tokens, LogitsKind logits)
    {
        if (tokens.IsEmpty) throw new ArgumentException("an entry has at least one token", nameof(tokens));
        if (logits == LogitsKind.Scored) throw new ArgumentException("use AddScored, which takes the targets", nameof(logits));
        var entry = new Entry(sequence, _tokens.Count, tokens.Length, logits, LogitsRowCount);
        _entries.Add(entry);
        _tokens.AddRange(tokens);
        for (int i = 0; i < tokens.Length; i++) _targets.Add(-1);
        LogitsRowCount += entry.OutputCount;
        return _entries.Count - 1;
    }

    /// <summary>Appends tokens and asks for log p(targets[i] | everything up to tokens[i]); a target of -1 is not scored.</summary>
    public int AddScored(KvSequence sequence, ReadOnlySpan<int> tokens, ReadOnlySpan<int> targets)
    {
        if (tokens.IsEmpty || tokens.Length != targets.Length) throw new ArgumentException("one target per token", nameof(targets));
        _entries.Add(new Entry(sequence, _tokens.Count, tokens.Length, LogitsKind.Scored, 0));
        _tokens.AddRange(tokens);
        _targets.AddRange(targets);
        return _entries.Count - 1;
    }

    /// <summary>Logits of one entry, [rows kept, vocabulary]; valid until the next step.</summary>
    public Span<float> Logits(int entry)
    {
        Entry e = _entries[entry];
        return new(_logits + (long)e.FirstOutput * _vocabulary, checked(e.OutputCount * _vocabulary));
    }

    /// <summary>Natural log-probabilities of the targets of one scored entry, [rows].</summary>
    public ReadOnlySpan<float> Logprobs(int entry)
    {
        Entry e = _entries[entry];
        return _logprobs.AsSpan(e.FirstRow, e.RowCount);
    }

    internal Span<float> AllLogprobs => _logprobs;

    /// <summary>Called by the runner before it computes: room for <see cref="LogitsRowCount"/> rows of logits.</summary>
    internal float* PrepareOutputs(int vocabulary)
    {
        _vocabulary = vocabulary;
        long needed = (long)LogitsRowCount * vocabulary;
        if (needed > _logitsCapacity)
        {
            NativeMemory.AlignedFree(_logits);
            _logits = (float*)NativeMemory.AlignedAlloc((nuint)(needed * sizeof(float)), 64);
            _logitsCapacity = needed;
        }

        if (_logprobs.Length < RowCount) _logprobs = new float[Math.Max(RowCount, 256)];
        return _logits;
    }

    public void Dispose()
    {
        NativeMemory.AlignedFree(_logits);
        _logits = null;
        _logitsCapacity = 0;
    }
}
