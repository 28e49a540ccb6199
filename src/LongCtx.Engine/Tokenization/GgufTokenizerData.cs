namespace LongCtx.Engine.Tokenization;

/// <summary>The tokenizer part of a GGUF file's metadata (keys tokenizer.ggml.*), as it stands there; null is absent.</summary>
public sealed record GgufTokenizerData
{
    /// <summary>File name for complaints.</summary>
    public required string Source { get; init; }

    /// <summary>"gpt2" (byte-level BPE), "llama" (SentencePiece BPE) or "bert" (WordPiece).</summary>
    public required string Model { get; init; }

    /// <summary>Name of the pre-tokenizer, for "gpt2".</summary>
    public string? Pre { get; init; }

    public required string[] Tokens { get; init; }

    public float[]? Scores { get; init; }

    /// <summary>1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.</summary>
    public int[]? TokenTypes { get; init; }

    public string[]? Merges { get; init; }

    public int? BosId { get; init; }

    public int? EosId { get; init; }

    public int? EotId { get; init; }

    public int? UnkId { get; init; }

    public int? PadId { get; init; }

    public int? ClsId { get; init; }

    public int? SepId { get; init; }

    public bool? AddBos { get; init; }

    public bool? AddEos { get; init; }

    public bool? AddSpacePrefix { get; init; }

    public string? ChatTemplate { get; init; }
}
