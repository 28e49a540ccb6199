using System.Text;
using System.Text.Json;
using LongCtx.Engine.Files;

namespace LongCtx.Engine.Models;

/// <summary>A directory as Hugging Face publishes it.</summary>
internal static class HuggingFaceModel
{
    const int TemplateBytesMax = 4 << 20;

    public static ModelSource Open(string directory)
    {
        string configPath = Path.Combine(directory, "config.json");
        if (!File.Exists(configPath))
            throw new ModelFileException(directory, 0, "holds no config.json, so it is not a Hugging Face model directory; give one, or a .gguf file");
        using JsonFile configFile = JsonFile.Open(configPath);
        JsonFields config = new(configFile, configFile.Root);
        string architecture = HuggingFaceConfig.Architecture(config);
        using JsonFile? poolingFile = OpenOptional(directory, "1_Pooling/config.json");
        using JsonFile? sentenceFile = OpenOptional(directory, "sentence_bert_config.json");
        bool isEncoder = architecture == "bert";
        DecoderConfig? decoder = isEncoder ? null : HuggingFaceConfig.ReadDecoder(config, architecture);
        EncoderConfig? encoder = isEncoder
            ? HuggingFaceConfig.ReadEncoder(config, architecture, FieldsOf(poolingFile), FieldsOf(sentenceFile))
            : null;

        using JsonFile? tokenizerFile = OpenOptional(directory, "tokenizer_config.json");
        using JsonFile? generationFile = OpenOptional(directory, "generation_config.json");
        JsonFields? tokenizer = FieldsOf(tokenizerFile), generation = FieldsOf(generationFile);
        int vocabulary = decoder?.VocabularySize ?? encoder!.VocabularySize;
        List<int> eos = TokenIds(generation, "eos_token_id", vocabulary) is { Count: > 0 } ids ? ids : TokenIds(config, "eos_token_id", vocabulary);
        List<int> bos = TokenIds(config, "bos_token_id", vocabulary);
        SpecialTokens special = new(
            bos.Count > 0 ? bos[0] : null, eos.Count > 0 ? eos[0] : null,
            TokenText(tokenizerFile, "bos_token"), TokenText(tokenizerFile, "eos_token"), tokenizer?.Flag("add_bos_token"));
        string? template = ChatTemplate(directory, tokenizerFile);

        SafetensorsFile file = OpenWeights(directory);
        try
        {
            return new ModelSource(directory, ModelFormat.HuggingFace, file, decoder, encoder)
            {
                TokenizerPath = Existing(directory, "tokenizer.json"),
                TokenizerConfigPath = tokenizerFile?.Path,
                ChatTemplate = template,
                Special = special,
                StopIds = eos,
            };
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    static SafetensorsFile OpenWeights(string directory)
    {
        string? path = Existing(directory, SafetensorsFile.SingleName) ?? Existing(directory, SafetensorsFile.IndexName);
        return path is not null
            ? SafetensorsFile.Open(path)
            : throw new ModelFileException(directory, 0,
                $"holds neither {SafetensorsFile.SingleName} nor {SafetensorsFile.IndexName}; convert other weights to safetensors or GGUF");
    }

    /// <summary>One id or a list; -1 and null mean none.</summary>
    static List<int> TokenIds(JsonFields? fields, string key, int vocabulary)
    {
        List<int> ids = [];
        foreach (JsonElement item in fields?.Items(key) ?? [])
        {
            if (item.ValueKind != JsonValueKind.Number || !item.TryGetInt32(out int id) || id < -1 || id >= vocabulary)
                throw fields!.Fail(key, $"'{key}' must hold token ids below {vocabulary}");
            if (id >= 0 && !ids.Contains(id)) ids.Add(id);
        }

        return ids;
    }

    /// <summary>"&lt;s&gt;", or an object with the text under 'content'.</summary>
    static string? TokenText(JsonFile? file, string key)
    {
        if (file is null || new JsonFields(file, file.Root).Find(key) is not { } value) return null;
        return value.ValueKind == JsonValueKind.Object ? new JsonFields(file, value).Text("content") : file.Text(value, key);
    }

    /// <summary>chat_template.jinja wins over tokenizer_config.json, where it is a string or a list of named ones with a 'default'.</summary>
    static string? ChatTemplate(string directory, JsonFile? tokenizerConfig)
    {
        if (Existing(directory, "chat_template.jinja") is { } path)
            return Encoding.UTF8.GetString(JsonFile.ReadAllBytes(path, TemplateBytesMax));
        const string key = "chat_template";
        if (tokenizerConfig is null || new JsonFields(tokenizerConfig, tokenizerConfig.Root).Find(key) is not { } value) return null;
        if (value.ValueKind != JsonValueKind.Array) return tokenizerConfig.Text(value, key);
        Dictionary<string, string> named = [];
        foreach (JsonElement item in value.EnumerateArray())
        {
            if (item.ValueKind != JsonValueKind.Object) throw tokenizerConfig.Fail(item, $"'{key}' must be a string or a list of objects with name and template");
            JsonFields entry = new(tokenizerConfig, item);
            named[entry.Text("name") ?? throw entry.Missing("name")] = entry.Text("template") ?? throw entry.Missing("template");
        }

        return named.GetValueOrDefault("default");
    }

    static JsonFile? OpenOptional(string directory, string name) => Existing(directory, name) is { } path ? JsonFile.Open(path) : null;

    static JsonFields? FieldsOf(JsonFile? file) => file is null ? null : new JsonFields(file, file.Root);

    static string? Existing(string directory, string name)
    {
        string path = Path.Combine(directory, name);
        return File.Exists(path) ? path : null;
    }
}
