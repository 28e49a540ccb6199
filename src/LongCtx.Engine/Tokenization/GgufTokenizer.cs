using System.Text;

namespace LongCtx.Engine.Tokenization;

/// <summary>Builds a tokenizer from GGUF metadata, with llama.cpp's defaults for what the file leaves out.</summary>
internal sealed class GgufTokenizer(GgufTokenizerData data)
{
    const int Unknown = 2, Control = 3, UserDefined = 4, Byte = 6;

    readonly Dictionary<string, int> _ids = new(data.Tokens.Length);
    readonly List<AddedToken> _added = [];

    public Tokenizer Build()
    {
        if (data.Tokens.Length == 0) throw Error("tokens", "is empty");
        if (data.TokenTypes is { } types && types.Length != data.Tokens.Length)
            throw Error("token_type", $"has {types.Length} entries for {data.Tokens.Length} tokens");
        // Where two tokens have one text, the first is the one that text becomes.
        HashSet<string> added = [];
        for (int id = 0; id < data.Tokens.Length; id++)
        {
            string token = data.Tokens[id];
            _ids.TryAdd(token, id);
            if (Type(id) is Control or Unknown or UserDefined && token.Length is > 0 and <= 1024 && added.Add(token))
                _added.Add(new AddedToken(id, token, Type(id) != UserDefined));
        }
        return data.Model switch
        {
            "gpt2" => ByteLevel(),
            "llama" => SentencePiece(),
            "bert" => WordPiece(),
            _ => throw Error("model", $"\"{TokenizerLoader.Shorten(data.Model)}\" is not supported; gpt2, llama and bert are"),
        };
    }

    int Type(int id) => data.TokenTypes?[id] ?? 1;

    int? Known(int? id, string key) => id is null || (id >= 0 && id < data.Tokens.Length)
        ? id : throw Error(key, $"{id} is not the id of a token; there are {data.Tokens.Length}");

    TokenizerParts Parts(Func<string, byte[]> bytesOf, bool addBegin, bool addEnd, int? begin, int? end, Normalizer[] normalizers)
    {
        byte[][] tokens = new byte[data.Tokens.Length][];
        TokenKind[] kinds = new TokenKind[tokens.Length];
        for (int id = 0; id < tokens.Length; id++)
        {
            kinds[id] = Type(id) switch { Control or Unknown => TokenKind.Special, UserDefined => TokenKind.Added, _ => TokenKind.Normal };
            tokens[id] = kinds[id] == TokenKind.Normal ? bytesOf(data.Tokens[id]) : Encoding.UTF8.GetBytes(data.Tokens[id]);
        }
        if (addBegin && begin is null) throw Error("bos_token_id", "is missing, but the model wants it before a text");
        return new TokenizerParts(new Vocabulary(tokens, kinds), _added)
        {
            Normalizers = normalizers,
            Prefix = addBegin ? [begin!.Value] : [],
            Suffix = addEnd && end is { } e ? [e] : [],
            BeginOfStream = begin,
            EndOfStream = end,
            EndOfGeneration = TokenizerLoader.EndOfGeneration(_added, end, Known(data.EotId, "eot_token_id")),
            ChatTemplate = data.ChatTemplate,
        };
    }

    ByteLevelBpeTokenizer ByteLevel()
    {
        string name = data.Pre ?? "default";
        bool llama3 = name is "llama3" or "llama-v3" or "llama-bpe" or "falcon3";
        PreTokenizer[] stages = name switch
        {
            "llama3" or "llama-v3" or "llama-bpe" or "falcon3" or "dbrx" or "smaug-bpe" => [new Llama3PreTokenizer(3)],
            "qwen2" or "deepseek-r1-qwen" or "stablelm2" or "megrez" => [new Llama3PreTokenizer(1)],
            "smollm" or "starcoder" or "refact" or "command-r" or "codeshell" or "exaone" => [RunPreTokenizer.Digits(1), new Gpt2PreTokenizer()],
            "gpt-2" or "phi-2" or "mpt" or "olmo" or "jais" or "roberta-bpe" => [new Gpt2PreTokenizer()],
            "default" =>
            [
                RunPreTokenizer.Punctuation(), new Gpt2PreTokenizer(), RunPreTokenizer.Digits(int.MaxValue), new DigitTriplePreTokenizer(),
            ],
            _ => throw Error("pre", $"pre-tokenizer \"{TokenizerLoader.Shorten(name)}\" is not supported; gpt-2, smollm, llama-bpe, qwen2 and default are"),
        };
        string[] list = data.Merges ?? throw Error("merges", "is missing");
        RankedMerges merges = TokenizerLoader.Merges(_ids, list.Length,
            i => TokenizerLoader.SplitMerge(list[i]) ?? throw Error($"merges[{i}]", "must be two tokens with a blank between them"),
            (i, problem) => Error($"merges[{i}]", problem));
        bool addSpace = data.AddSpacePrefix ?? false;
        TokenizerParts parts = Parts(t => ByteAlphabet.Decode(t) ?? Encoding.UTF8.GetBytes(t), data.AddBos ?? llama3, data.AddEos ?? false,
            Known(data.BosId, "bos_token_id"), Known(data.EosId, "eos_token_id"), addSpace ? [new PrependNormalizer(" ")] : []);
        return new ByteLevelBpeTokenizer(parts, stages, TokenizerLoader.ByteIds(_ids), merges, llama3 ? TokenizerLoader.WholePieces(_ids) : null);
    }

    SentencePieceTokenizer<ScoredMerges> SentencePiece()
    {
        float[] scores = data.Scores ?? throw Error("scores", "is missing");
        if (scores.Length != data.Tokens.Length) throw Error("scores", $"has {scores.Length} entries for {data.Tokens.Length} tokens");

        int[] bytes = new int[256];
        Array.Fill(bytes, -1);
        Dictionary<string, int> plain = [];
        for (int id = 0; id < data.Tokens.Length; id++)
        {
            if (TokenizerLoader.ByteValue(data.Tokens[id]) is >= 0 and int value && (data.TokenTypes is null || Type(id) == Byte)) bytes[value] = id;
            else if (Type(id) is not (Control or Unknown or Byte) && data.Tokens[id].Length > 0) plain.TryAdd(data.Tokens[id], id);
        }

        // Equal scores share a rank, so that the leftmost pair goes first among them.
        float[] order = [.. scores.Distinct().OrderDescending()];
        Dictionary<float, int> rankOfScore = new(order.Length);
        for (int i = 0; i < order.Length; i++) rankOfScore[order[i]] = i;
        int[] ranks = [.. scores.Select(s => rankOfScore[s])];

        bool addSpace = data.AddSpacePrefix ?? true;
        SentencePieceModel model = new(plain, bytes.Max() < 0 ? null : bytes, Known(data.UnkId, "unknown_token_id"), FuseUnknown: true,
            SentencePieceModel.BoundaryOf(plain.Keys), addSpace);
        TokenizerParts parts = Parts(t => TokenizerJson.SentencePieceBytes(t, byteFallback: true), data.AddBos ?? true, data.AddEos ?? false,
            Known(data.BosId, "bos_token_id"), Known(data.EosId, "eos_token_id"),
            addSpace ? [new PrependNormalizer("▁"), new ReplaceNormalizer(" ", "▁")] : [new ReplaceNormalizer(" ", "▁")]);
        return new SentencePieceTokenizer<ScoredMerges>(parts, model, text => new ScoredMerges(model, ranks, text));
    }

    /// <summary>GGUF keeps BERT's pieces with '▁' before a word's first and nothing before the others; older files have "##".</summary>
    WordPieceTokenizer WordPiece()
    {
        bool phantom = data.Tokens.Any(t => t is ['▁', ..]);
        (Dictionary<string, int> starts, Dictionary<string, int> continuations) = ([], []);
        for (int id = 0; id < data.Tokens.Length; id++)
            if (Type(id) is not (Control or Unknown))
                (IsStart(data.Tokens[id]) ? starts : continuations).TryAdd(Bare(data.Tokens[id]), id);

        int unknown = Known(data.UnkId, "unknown_token_id") ?? (_ids.TryGetValue("[UNK]", out int unk) ? unk : throw Error("unknown_token_id", "is missing"));
        int? begin = Known(data.ClsId, "cls_token_id") ?? Known(data.BosId, "bos_token_id") ?? Id("[CLS]");
        int? end = Known(data.SepId, "seperator_token_id") ?? Known(data.EosId, "eos_token_id") ?? Id("[SEP]");
        TokenizerParts parts = Parts(t => Encoding.UTF8.GetBytes(IsStart(t) ? " " + Bare(t) : Bare(t)), data.AddBos ?? true, data.AddEos ?? true, begin, end,
            [new BertCleanNormalizer(true, true), new NfdNormalizer(), new StripAccentsNormalizer(), new LowercaseNormalizer()]);
        return new WordPieceTokenizer(parts, starts, continuations, unknown, 100);

        int? Id(string token) => _ids.TryGetValue(token, out int id) ? id : null;
        bool IsStart(string token) => phantom ? token is ['▁', ..] : !token.StartsWith("##", StringComparison.Ordinal);
        string Bare(string token) => phantom ? token.TrimStart('▁') : token.StartsWith("##", StringComparison.Ordinal) ? token[2..] : token;
    }

    TokenizerException Error(string key, string problem) => new(data.Source, "tokenizer.ggml." + key, problem);
}
