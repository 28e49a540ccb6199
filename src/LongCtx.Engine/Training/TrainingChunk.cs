using LongCtx.Engine.Cache;

namespace LongCtx.Engine.Training;

/// <summary>What one update learns from.</summary>
/// <param name="Tokens">Without a cache a prefix that is only read, then the chunk, positions from 0; with one the chunk alone, which follows it.</param>
/// <param name="FirstLabel">Index of the chunk's first token: it and all behind it are predicted from what stands before them. At least 1.</param>
/// <param name="HeldOut">
/// Tokens at the end that are in no loss. An update under which they become less likely is rejected; 0: there is no such guard.
/// </param>
/// <param name="Cache">
/// A <see cref="KvSequence.Fork"/> of the live cache from when the chunk's first token was about to be processed: the chunk's queries see it as
/// they did then, and nothing in it gets a gradient. It is read until the run ends, and belongs to the caller, who disposes it.
/// </param>
public sealed record TrainingChunk(ReadOnlyMemory<int> Tokens, int FirstLabel, int HeldOut = 0, KvSequence? Cache = null)
{
    /// <summary>Tokens whose cross-entropy is the loss.</summary>
    public int LabelCount => Tokens.Length - FirstLabel - HeldOut;

    /// <exception cref="ArgumentException">The message says what would do.</exception>
    internal void Validate(int vocabularySize)
    {
        Require(FirstLabel >= 1, nameof(FirstLabel), $"the first label is token {FirstLabel}: the first token of all has nothing before it, so that 1 is the least");
        Require(HeldOut >= 0 && LabelCount >= 1, nameof(HeldOut), $"{Tokens.Length} tokens with {FirstLabel} before the first label and {HeldOut} held out leave nothing to learn from");
        Require(Cache is null || Cache.Count >= Cache.Policy.Sinks, nameof(Cache), $"the cache holds {Cache?.Count} tokens, fewer than its {Cache?.Policy.Sinks} sinks: train once the window is filled");
        foreach (int token in Tokens.Span) Require((uint)token < (uint)vocabularySize, nameof(Tokens), $"token {token} is not within the vocabulary of {vocabularySize}");
    }

    static void Require(bool isMet, string name, FormattableString message)
    {
        if (!isMet) throw new ArgumentException(FormattableString.Invariant(message), name);
    }
}
