namespace LongCtx.Engine.Tokenization;

/// <summary>What every kind of tokenizer is built from, whatever file it came from.</summary>
internal sealed record TokenizerParts(Vocabulary Vocabulary, IReadOnlyList<AddedToken> Added)
{
    public Normalizer[] Normalizers { get; init; } = [];

    /// <summary>Ids around a text when special tokens are asked for.</summary>
    public int[] Prefix { get; init; } = [];

    public int[] Suffix { get; init; } = [];

    public int? BeginOfStream { get; init; }

    public int? EndOfStream { get; init; }

    public IReadOnlySet<int> EndOfGeneration { get; init; } = new HashSet<int>();

    public string? ChatTemplate { get; init; }
}
