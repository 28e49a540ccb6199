using System.Text;
using LongCtx.Engine.Tokenization;

namespace LongCtx.Engine.Tests.Tokenization;

/// <summary>Tokenizers of the bundled models, loaded once.</summary>
internal static class Bundled
{
    static readonly Lazy<Tokenizer> LazySmolLM2 = new(() => TokenizerLoader.FromGguf(GgufMetadata.Tokenizer(Repository.SmolLM2)));
    static readonly Lazy<Tokenizer> LazyPg19 = new(() => FromDirectory(Repository.Pg19));
    static readonly Lazy<Tokenizer> LazyMiniLM = new(() => FromDirectory(Repository.MiniLM));

    public static Tokenizer SmolLM2 => LazySmolLM2.Value;

    public static Tokenizer Pg19 => LazyPg19.Value;

    public static Tokenizer MiniLM => LazyMiniLM.Value;

    public static Tokenizer Named(string name) => name switch
    {
        "smollm2" => SmolLM2,
        "pg19-7m" => Pg19,
        "minilm" => MiniLM,
        _ => throw new ArgumentException(name, nameof(name)),
    };

    public static Tokenizer FromDirectory(string directory) =>
        TokenizerLoader.FromJson(Path.Combine(directory, "tokenizer.json"), Path.Combine(directory, "tokenizer_config.json"));
}

/// <summary>The metadata of a GGUF file, read the short way: these tests should not depend on the engine's own reader.</summary>
internal static class GgufMetadata
{
    public static Dictionary<string, object> Read(string path)
    {
        using BinaryReader reader = new(File.OpenRead(path));
        reader.ReadUInt64();
        reader.ReadUInt64();
        Dictionary<string, object> result = [];
        for (ulong left = reader.ReadUInt64(); left > 0; left--) result.Add(Text(), Value(reader.ReadUInt32()));
        return result;

        string Text() => Encoding.UTF8.GetString(reader.ReadBytes((int)reader.ReadUInt64()));

        object Value(uint type) => type switch
        {
            4 => reader.ReadUInt32(),
            5 => reader.ReadInt32(),
            6 => reader.ReadSingle(),
            7 => reader.ReadBoolean(),
            8 => Text(),
            9 => Array(reader.ReadUInt32(), (int)reader.ReadUInt64()),
            _ => throw new NotSupportedException($"GGUF value type {type}"),
        };

        object Array(uint type, int count) => type switch
        {
            5 => Enumerable.Range(0, count).Select(_ => reader.ReadInt32()).ToArray(),
            8 => Enumerable.Range(0, count).Select(_ => Text()).ToArray(),
            _ => throw new NotSupportedException($"GGUF array of type {type}"),
        };
    }

    public static GgufTokenizerData Tokenizer(string path)
    {
        Dictionary<string, object> m = Read(path);
        return new GgufTokenizerData
        {
            Source = path,
            Model = (string)m["tokenizer.ggml.model"],
            Pre = (string)m["tokenizer.ggml.pre"],
            Tokens = (string[])m["tokenizer.ggml.tokens"],
            TokenTypes = (int[])m["tokenizer.ggml.token_type"],
            Merges = (string[])m["tokenizer.ggml.merges"],
            BosId = (int)(uint)m["tokenizer.ggml.bos_token_id"],
            EosId = (int)(uint)m["tokenizer.ggml.eos_token_id"],
            UnkId = (int)(uint)m["tokenizer.ggml.unknown_token_id"],
            PadId = (int)(uint)m["tokenizer.ggml.padding_token_id"],
            AddBos = (bool)m["tokenizer.ggml.add_bos_token"],
            AddSpacePrefix = (bool)m["tokenizer.ggml.add_space_prefix"],
            ChatTemplate = (string)m["tokenizer.chat_template"],
        };
    }
}
