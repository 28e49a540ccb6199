using System.Text;
using System.Text.Json;

namespace LongCtx.Engine.Tokenization;

/// <summary>Reads tokenizer.json: vocabulary, added tokens and model here, the pipeline around them in the other part.</summary>
internal sealed partial class TokenizerJson(JsonView root, TokenizerConfig config)
{
    readonly JsonView _model = root.Required("model");
    readonly Dictionary<string, int> _ids = [];
    readonly List<AddedToken> _added = [];
    string?[] _texts = [];

    public Tokenizer Build()
    {
        string type = _model.Text("type") ?? (_model.Optional("merges") is null ? "WordPiece" : "BPE");
        if (type is not ("BPE" or "WordPiece")) throw _model.Error($"type \"{type}\" is not supported; BPE and WordPiece are");
        ReadTokens();
        return type == "WordPiece" ? WordPiece() : Bpe();
    }

    void ReadTokens()
    {
        foreach ((string token, JsonView id) in _model.Required("vocab").Properties())
            if (!_ids.TryAdd(token, Id(id, token))) throw _model.Error($"vocab has \"{TokenizerLoader.Shorten(token)}\" twice");

        int i = 0;
        HashSet<int> ids = [];
        HashSet<string> texts = [];
        foreach (JsonView token in root.Optional("added_tokens")?.Items() ?? [])
        {
            string text = token.Required("content").Text();
            int id = Id(token.Required("id"), text);
            if (text.Length is 0 or > 1024) throw token.Error("content must have 1 to 1024 characters");
            if (!ids.Add(id)) throw token.Error($"id {id} is given to two added tokens");
            if (!texts.Add(text)) throw token.Error($"\"{TokenizerLoader.Shorten(text)}\" is added twice");
            bool special = token.Flag("special");
            _added.Add(new AddedToken(id, text, special, token.Flag("single_word"), token.Flag("lstrip"), token.Flag("rstrip"),
                Normalized: !special && token.Flag("normalized")));
            if (++i > 1 << 16) throw token.Error("is one added token too many; at most 65536 are read");
        }

        int idMax = Math.Max(_ids.Count == 0 ? -1 : _ids.Values.Max(), _added.Count == 0 ? -1 : _added.Max(t => t.Id));
        // Gaps are real, but an id far outside would cost memory out of proportion.
        if (idMax >= 4L * (_ids.Count + _added.Count) + 65536)
            throw _model.Error($"id {idMax} is out of range for a vocabulary of {_ids.Count + _added.Count} tokens");
        if (idMax < 0) throw _model.Error("vocab is empty");

        _texts = new string?[idMax + 1];
        foreach ((string token, int id) in _ids)
        {
            if (_texts[id] is { } other)
                throw _model.Error($"vocab gives id {id} to both \"{TokenizerLoader.Shorten(other)}\" and \"{TokenizerLoader.Shorten(token)}\"");
            _texts[id] = token;
        }
        // An added token may rename a reserved one.
        foreach (AddedToken token in _added) _texts[token.Id] = token.Text;

        int Id(JsonView value, string token)
        {
            if (value.Kind == JsonValueKind.Number && value.Element.TryGetInt32(out int id) && id >= 0) return id;
            throw value.Error($"id of \"{TokenizerLoader.Shorten(token)}\" must be a whole number from 0 to 2^31-1");
        }
    }

    TokenizerParts Parts(Func<string, byte[]> bytesOf, Normalizer[] normalizers)
    {
        byte[]?[] tokens = new byte[]?[_texts.Length];
        TokenKind[] kinds = new TokenKind[_texts.Length];
        foreach (AddedToken token in _added)
        {
            kinds[token.Id] = token.Special ? TokenKind.Special : TokenKind.Added;
            tokens[token.Id] = Encoding.UTF8.GetBytes(token.Text);
        }
        for (int i = 0; i < tokens.Length; i++)
        {
            if (_texts[i] is not { } text || tokens[i] is not null) continue;
            kinds[i] = TokenKind.Normal;
            tokens[i] = bytesOf(text);
        }

        (List<int> prefix, List<int> suffix) = ([], []);
        if (root.Optional("post_processor") is { } post) PostProcessor(post, prefix, suffix);
        int? begin = IdOf(config.BeginOfStream) ?? (prefix.Count > 0 ? prefix[0] : null);
        int? end = IdOf(config.EndOfStream) ?? (suffix.Count > 0 ? suffix[^1] : null);
        Override(prefix, begin, config.AddsBeginOfStream);
        Override(suffix, end, config.AddsEndOfStream);
        return new TokenizerParts(new Vocabulary(tokens, kinds), _added)
        {
            Normalizers = normalizers,
            Prefix = [.. prefix],
            Suffix = [.. suffix],
            BeginOfStream = begin,
            EndOfStream = end,
            EndOfGeneration = TokenizerLoader.EndOfGeneration(_added, end),
            ChatTemplate = config.ChatTemplate,
        };

        static void Override(List<int> around, int? id, bool? wanted)
        {
            if (id is not { } token || wanted is not { } want || around.Contains(token) == want) return;
            if (want) around.Add(token);
            else around.Remove(token);
        }
    }

    int? IdOf(string? token)
    {
        if (token is null) return null;
        return _added.Find(t => t.Text == token)?.Id ?? (_ids.TryGetValue(token, out int id) ? id : null);
    }

    int? Unknown()
    {
        if (_model.Text("unk_token") is not { } token) return null;
        return IdOf(token) ?? throw _model.Error($"unk_token \"{TokenizerLoader.Shorten(token)}\" is not in the vocabulary");
    }

    Tokenizer WordPiece()
    {
        if (root.Optional("pre_tokenizer")?.Required("type") is { } pre && pre.Text() != "BertPreTokenizer")
            throw pre.Error($"\"{pre.Text()}\" is not supported with WordPiece; BertPreTokenizer is");
        string mark = _model.Text("continuing_subword_prefix") ?? "##";
        (Dictionary<string, int> starts, Dictionary<string, int> continuations) = ([], []);
        foreach ((string token, int id) in _ids)
        {
            if (mark.Length > 0 && token.StartsWith(mark, StringComparison.Ordinal)) continuations.Add(token[mark.Length..], id);
            starts.Add(token, id);
        }
        int wordLengthMax = _model.Int("max_input_chars_per_word") ?? 100;
        if (wordLengthMax is < 1 or > 10_000) throw _model.Error("max_input_chars_per_word must be 1 to 10000");
        TokenizerParts parts = Parts(
            t => Encoding.UTF8.GetBytes(t.StartsWith(mark, StringComparison.Ordinal) ? t[mark.Length..] : " " + t), Normalizers());
        return new WordPieceTokenizer(parts, starts, continuations, Unknown() ?? throw _model.Error("WordPiece needs an \"unk_token\""), wordLengthMax);
    }

    Tokenizer Bpe()
    {
        foreach (string name in (string[])["continuing_subword_prefix", "end_of_word_suffix"])
            if (_model.Text(name) is { Length: > 0 } affix) throw _model.Error($"{name} \"{TokenizerLoader.Shorten(affix)}\" is not supported");
        if (_model.Optional("dropout") is { } dropout && !(dropout.Element.ValueKind == JsonValueKind.Number && dropout.Element.GetDouble() == 0))
            throw dropout.Error("is not supported; it is for training");

        PreTokenizers pre = ReadPreTokenizers();
        Normalizer[] normalizers = [.. Normalizers(), .. pre.Normalizers];
        RankedMerges merges = ReadMerges();
        bool wholePieces = _model.Flag("ignore_merges"), fuse = _model.Flag("fuse_unk");
        if (pre.ByteLevel)
            return new ByteLevelBpeTokenizer(Parts(t => ByteAlphabet.Decode(t) ?? Encoding.UTF8.GetBytes(t), normalizers), pre.Stages,
                TokenizerLoader.ByteIds(_ids), merges, wholePieces ? TokenizerLoader.WholePieces(_ids) : null, Unknown(), fuse);

        if (pre.Stages.Length > 0) throw root.Error("pre_tokenizer: splitting is supported only with ByteLevel");
        if (wholePieces) throw _model.Error("ignore_merges is supported only with ByteLevel");
        int[]? bytes = _model.Flag("byte_fallback") ? [.. Enumerable.Range(0, 256).Select(b => _ids.GetValueOrDefault($"<0x{b:X2}>", -1))] : null;
        SentencePieceModel model = new(PlainTokens(), bytes, Unknown(), fuse, pre.EachMarker ? WordBoundary.EachMarker : SentencePieceModel.BoundaryOf(_ids.Keys),
            StripsLeadingSpace());
        return new SentencePieceTokenizer<RankedMerges>(Parts(t => SentencePieceBytes(t, bytes is not null), normalizers), model, _ => merges);
    }

    /// <summary>Without special and byte tokens: no text becomes one of these by merging.</summary>
    Dictionary<string, int> PlainTokens()
    {
        Dictionary<string, int> plain = new(_ids);
        foreach (AddedToken token in _added.Where(t => t.Special)) plain.Remove(token.Text);
        return plain;
    }

    internal static byte[] SentencePieceBytes(string token, bool byteFallback) =>
        byteFallback && TokenizerLoader.ByteValue(token) is >= 0 and int b ? [(byte)b] : Encoding.UTF8.GetBytes(token.Replace('▁', ' '));

    RankedMerges ReadMerges()
    {
        JsonView merges = _model.Required("merges");
        if (merges.Kind != JsonValueKind.Array) throw merges.Error("must be an array");
        JsonElement.ArrayEnumerator items = merges.Element.EnumerateArray();
        return TokenizerLoader.Merges(_ids, merges.Element.GetArrayLength(), Item, (i, problem) => At(i).Error(problem));

        JsonView At(int i) => merges with { Path = $"{merges.Path}[{i}]", Element = merges.Element[i] };

        (string, string) Item(int i)
        {
            items.MoveNext();
            JsonView item = merges with { Element = items.Current };
            try
            {
                if (item.Kind == JsonValueKind.Array && item.Element.GetArrayLength() == 2)
                    return ((merges with { Element = item.Element[0] }).Text(), (merges with { Element = item.Element[1] }).Text());
                if (item.Kind == JsonValueKind.String && TokenizerLoader.SplitMerge(item.Text()) is { } pair) return pair;
            }
            catch (TokenizerException e)
            {
                throw At(i).Error(e.Message, e);
            }
            throw At(i).Error("must be \"left right\" or [\"left\", \"right\"]");
        }
    }
}
