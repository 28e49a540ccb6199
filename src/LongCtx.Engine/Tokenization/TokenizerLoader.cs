using System.Text;

namespace LongCtx.Engine.Tokenization;

/// <summary>Builds tokenizers from a Hugging Face directory's files or from GGUF metadata. Anything unusable is a <see cref="TokenizerException"/>.</summary>
public static class TokenizerLoader
{
    /// <param name="tokenizerJsonPath">tokenizer.json.</param>
    /// <param name="tokenizerConfigPath">tokenizer_config.json: special tokens and chat template; a chat_template.jinja beside it goes first.</param>
    public static Tokenizer FromJson(string tokenizerJsonPath, string? tokenizerConfigPath)
    {
        TokenizerConfig config = tokenizerConfigPath is null ? new TokenizerConfig() : TokenizerConfig.Read(tokenizerConfigPath);
        JsonView root = JsonView.Read(tokenizerJsonPath, out var document);
        using (document) return new TokenizerJson(root, config).Build();
    }

    public static Tokenizer FromGguf(GgufTokenizerData data) => new GgufTokenizer(data).Build();

    // Names under which published models end a turn or a text.
    static readonly HashSet<string> EndNames =
    [
        "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|endoftext|>", "<|end|>", "<end_of_turn>", "<EOT>", "<|eot|>",
        "<|EOT|>", "<|END_OF_TURN_TOKEN|>", "<｜end▁of▁sentence｜>", "</s>",
    ];

    internal static HashSet<int> EndOfGeneration(IEnumerable<AddedToken> added, params ReadOnlySpan<int?> named)
    {
        HashSet<int> ends = [.. added.Where(t => t.Special && EndNames.Contains(t.Text)).Select(t => t.Id)];
        foreach (int? id in named) if (id is { } end) ends.Add(end);
        return ends;
    }

    /// <summary>The value of a byte fallback token "&lt;0x0A&gt;"; -1 for any other.</summary>
    internal static int ByteValue(string token) =>
        token is ['<', '0', 'x', _, _, '>'] && byte.TryParse(token.AsSpan(3, 2), System.Globalization.NumberStyles.AllowHexSpecifier, null, out byte b) ? b : -1;

    /// <summary>Single-byte tokens of a byte-level vocabulary; -1 where there is none.</summary>
    internal static int[] ByteIds(Dictionary<string, int> ids) =>
        [.. Enumerable.Range(0, 256).Select(b => ids.TryGetValue(ByteAlphabet.Of((byte)b), out int id) ? id : -1)];

    /// <summary>Text of each byte-level token whose bytes are whole characters, for models that take a piece which is a token as it is.</summary>
    internal static Dictionary<string, int> WholePieces(Dictionary<string, int> ids)
    {
        UTF8Encoding strict = new(false, throwOnInvalidBytes: true);
        Dictionary<string, int> pieces = new(ids.Count);
        foreach ((string token, int id) in ids)
        {
            if (ByteAlphabet.Decode(token) is not { } bytes) continue;
            if (System.Text.Unicode.Utf8.IsValid(bytes)) pieces.TryAdd(strict.GetString(bytes), id);
        }
        return pieces;
    }

    /// <summary>Checks and indexes a merge list. <paramref name="item"/> gives a merge's two halves and a complaint about it.</summary>
    internal static RankedMerges Merges(
        Dictionary<string, int> ids, int count, Func<int, (string Left, string Right)> item, Func<int, string, TokenizerException> error)
    {
        var lookup = ids.GetAlternateLookup<ReadOnlySpan<char>>();
        Dictionary<long, (int, int)> pairs = new(count);
        char[] joined = new char[64];
        for (int i = 0; i < count; i++)
        {
            (string left, string right) = item(i);
            int length = left.Length + right.Length;
            if (joined.Length < length) joined = new char[2 * length];
            left.CopyTo(joined);
            right.CopyTo(joined.AsSpan(left.Length));
            if (!ids.TryGetValue(left, out int a)) throw Unknown(left);
            if (!ids.TryGetValue(right, out int b)) throw Unknown(right);
            if (!lookup.TryGetValue(joined.AsSpan(0, length), out int merged)) throw Unknown(left + right);
            pairs[RankedMerges.Key(a, b)] = (i, merged);

            TokenizerException Unknown(string token) => error(i, $"merges into or from \"{Shorten(token)}\", which is not in the vocabulary");
        }
        return new RankedMerges(pairs);
    }

    internal static (string Left, string Right)? SplitMerge(string merge)
    {
        int space = merge.IndexOf(' ', StringComparison.Ordinal);
        return space > 0 && space < merge.Length - 1 && merge.IndexOf(' ', space + 1) < 0 ? (merge[..space], merge[(space + 1)..]) : null;
    }

    internal static string Shorten(string text) => text.Length <= 60 ? text : text[..60] + "…";
}
