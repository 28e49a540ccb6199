namespace LongCtx.Engine.Tokenization;

internal sealed partial class TokenizerJson
{
    const string Gpt2Pattern = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
    const string Llama3Pattern =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    const string Qwen2Pattern =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    // Sequences may hold sequences; the JSON depth bounds that, this the work.
    const int StepsMax = 16;

    /// <param name="ByteLevel">Merges run over bytes; otherwise over characters, SentencePiece fashion.</param>
    /// <param name="EachMarker">Metaspace splits before every '▁'.</param>
    sealed record PreTokenizers(PreTokenizer[] Stages, Normalizer[] Normalizers, bool ByteLevel, bool EachMarker);

    PreTokenizers ReadPreTokenizers()
    {
        (List<PreTokenizer> stages, List<Normalizer> normalizers) = ([], []);
        bool byteLevel = false, eachMarker = false;
        if (root.Optional("pre_tokenizer") is not { } pre) return new([], [], false, false);
        foreach (JsonView step in Steps(pre, "pretokenizers"))
        {
            if (byteLevel) throw step.Error("nothing may follow ByteLevel");
            switch (step.Required("type").Text())
            {
                case "Split":
                    stages.Add(Split(step));
                    break;
                case "Digits":
                    stages.Add(RunPreTokenizer.Digits(step.Flag("individual_digits") ? 1 : int.MaxValue));
                    break;
                case "Punctuation" when (step.Text("behavior") ?? "Isolated") is "Contiguous":
                    stages.Add(new RunPreTokenizer(BertPreTokenizer.IsPunctuation));
                    break;
                case "Punctuation" when (step.Text("behavior") ?? "Isolated") is "Isolated":
                    stages.Add(new RunPreTokenizer(BertPreTokenizer.IsPunctuation, 1));
                    break;
                case "ByteLevel":
                    byteLevel = true;
                    if (step.Flag("add_prefix_space", true))
                    {
                        if (stages.Count > 0) throw step.Error("add_prefix_space after another split is not supported");
                        normalizers.Add(new PrependNormalizer(" ", unlessPresent: true));
                    }
                    if (step.Flag("use_regex", true)) stages.Add(new Gpt2PreTokenizer());
                    break;
                case "Metaspace":
                    if ((step.Text("replacement") ?? "▁") != "▁") throw step.Error("replacement must be \"▁\"");
                    string scheme = step.Text("prepend_scheme") ?? (step.Flag("add_prefix_space", true) ? "always" : "never");
                    if (scheme is not ("always" or "first" or "never")) throw step.Error($"prepend_scheme \"{TokenizerLoader.Shorten(scheme)}\" is not supported");
                    normalizers.Add(new ReplaceNormalizer(" ", "▁"));
                    if (scheme != "never") normalizers.Add(new PrependNormalizer("▁", unlessPresent: true, onlyFirst: scheme == "first"));
                    eachMarker = step.Flag("split", true);
                    break;
                case { } type:
                    throw step.Error($"pre-tokenizer \"{TokenizerLoader.Shorten(type)}\" is not supported");
            }
        }
        return new([.. stages], [.. normalizers], byteLevel, eachMarker);
    }

    static PreTokenizer Split(JsonView step)
    {
        JsonView pattern = step.Required("pattern");
        string text = pattern.Text("Regex") ?? throw pattern.Error("only a \"Regex\" is supported");
        PreTokenizer? stage = text switch
        {
            Gpt2Pattern => new Gpt2PreTokenizer(),
            Llama3Pattern => new Llama3PreTokenizer(3),
            Qwen2Pattern => new Llama3PreTokenizer(1),
            _ => null,
        };
        // These match everything, so isolating the matches and removing what does not match are the same.
        (string behaviour, bool invert) = (step.Text("behavior") ?? "", step.Flag("invert"));
        if (stage is not null && ((behaviour == "Isolated" && !invert) || (behaviour == "Removed" && invert))) return stage;
        stage = text switch
        {
            @"\p{N}" or @"\d" => RunPreTokenizer.Digits(1),
            @"\p{N}{1,3}" => RunPreTokenizer.Digits(3),
            @"\p{N}+" => RunPreTokenizer.Digits(int.MaxValue),
            _ => null,
        };
        if (stage is not null && behaviour == "Isolated" && !invert) return stage;
        throw pattern.Error($"pattern {TokenizerLoader.Shorten(text)} with behaviour \"{behaviour}\" is not supported; those of GPT-2, Llama-3, Qwen2 and digits are");
    }

    Normalizer[] Normalizers()
    {
        if (root.Optional("normalizer") is not { } normalizer) return [];
        List<Normalizer> result = [];
        foreach (JsonView step in Steps(normalizer, "normalizers"))
        {
            switch (step.Required("type").Text())
            {
                case "NFC":
                    result.Add(new NfcNormalizer());
                    break;
                case "NFD":
                    result.Add(new NfdNormalizer());
                    break;
                case "Lowercase":
                    result.Add(new LowercaseNormalizer());
                    break;
                case "StripAccents":
                    result.Add(new StripAccentsNormalizer());
                    break;
                case "Prepend":
                    result.Add(new PrependNormalizer(step.Required("prepend").Text()));
                    break;
                case "Replace":
                    string pattern = step.Required("pattern").Text("String") ?? throw step.Error("only a \"String\" pattern is supported");
                    if (pattern.Length == 0) throw step.Error("pattern is empty");
                    string content = step.Required("content").Text();
                    if (content.Length > 64) throw step.Error("content has more than 64 characters");
                    result.Add(new ReplaceNormalizer(pattern, content));
                    break;
                case "BertNormalizer":
                    bool lower = step.Flag("lowercase", true);
                    result.Add(new BertCleanNormalizer(step.Flag("clean_text", true), step.Flag("handle_chinese_chars", true)));
                    // Unless told otherwise, accents go exactly when capitals do.
                    if (step.Optional("strip_accents")?.Flag() ?? lower)
                    {
                        result.Add(new NfdNormalizer());
                        result.Add(new StripAccentsNormalizer());
                    }
                    if (lower) result.Add(new LowercaseNormalizer());
                    break;
                case { } type:
                    throw step.Error($"normalizer \"{TokenizerLoader.Shorten(type)}\" is not supported");
            }
        }
        return [.. result];
    }

    /// <summary>Fills in the ids around a text.</summary>
    void PostProcessor(JsonView post, List<int> prefix, List<int> suffix)
    {
        foreach (JsonView step in Steps(post, "processors"))
        {
            switch (step.Required("type").Text())
            {
                case "ByteLevel":
                    break;
                case "TemplateProcessing":
                    bool before = true;
                    foreach (JsonView part in step.Required("single").Items())
                    {
                        if (part.Optional("Sequence") is not null) before = false;
                        else
                        {
                            string name = part.Required("SpecialToken").Required("id").Text();
                            foreach (JsonView id in step.Required("special_tokens").Required(name).Required("ids").Items())
                                (before ? prefix : suffix).Add(Known(id));
                        }
                    }
                    break;
                case "BertProcessing" or "RobertaProcessing":
                    prefix.Add(Known(step.Required("cls").Items().ElementAtOrDefault(1)));
                    suffix.Add(Known(step.Required("sep").Items().ElementAtOrDefault(1)));
                    break;
                case { } type:
                    throw step.Error($"post-processor \"{TokenizerLoader.Shorten(type)}\" is not supported");
            }
            if (prefix.Count + suffix.Count > 64) throw step.Error("adds more than 64 tokens");
        }

        int Known(JsonView id)
        {
            if (id.File is null) throw post.Error("\"cls\" and \"sep\" must be [token, id]");
            return id.Int() is >= 0 and int value && value < _texts.Length && _texts[value] is not null
                ? value : throw id.Error($"{id.Int()} is not the id of a token");
        }
    }

    /// <summary>Whether the decoder takes off the blank that a text was given in front.</summary>
    bool StripsLeadingSpace()
    {
        if (root.Optional("decoder") is not { } decoder) return false;
        foreach (JsonView step in Steps(decoder, "decoders"))
        {
            switch (step.Required("type").Text())
            {
                case "Strip" when step.Text("content") == " " && step.Int("start") > 0:
                case "Metaspace" when (step.Text("prepend_scheme") ?? (step.Flag("add_prefix_space", true) ? "always" : "never")) != "never":
                    return true;
            }
        }
        return false;
    }

    static List<JsonView> Steps(JsonView component, string sequenceName)
    {
        List<JsonView> steps = [];
        Add(component);
        return steps;

        void Add(JsonView step)
        {
            if (step.Required("type").Text() == "Sequence")
            {
                foreach (JsonView inner in step.Required(sequenceName).Items()) Add(inner);
            }
            else if (steps.Count < StepsMax) steps.Add(step);
            else throw component.Error($"has more than {StepsMax} steps");
        }
    }
}
