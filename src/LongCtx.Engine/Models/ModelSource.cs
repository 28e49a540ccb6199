using LongCtx.Engine.Files;

namespace LongCtx.Engine.Models;

/// <summary>Ids and texts of the special tokens, as far as the files state them: GGUF ids, Hugging Face mostly texts.</summary>
public sealed record SpecialTokens(int? BosId = null, int? EosId = null, string? BosText = null, string? EosText = null, bool? AddBos = null);

/// <summary>An opened model: its tensors, what it is, and where its tokenizer lies. Every tensor it needs exists in the right shape.</summary>
public sealed partial class ModelSource : IDisposable
{
    internal ModelSource(string path, ModelFormat format, ModelFile file, DecoderConfig? decoder, EncoderConfig? encoder)
    {
        (Path, Format, File, Decoder, Encoder) = (path, format, file, decoder, encoder);
        Validate();
    }

    /// <summary>The GGUF file, or the Hugging Face directory.</summary>
    public string Path { get; }

    public ModelFormat Format { get; }

    public ModelFile File { get; }

    /// <summary>Either this or <see cref="Encoder"/>.</summary>
    public DecoderConfig? Decoder { get; }

    public EncoderConfig? Encoder { get; }

    public string Architecture => Decoder?.Architecture ?? Encoder!.Architecture;

    /// <summary>GGUF: holds the tokenizer under tokenizer.ggml. Null for a directory.</summary>
    public GgufMetadata? Metadata => (File as GgufFile)?.Metadata;

    /// <summary>tokenizer.json of a directory.</summary>
    public string? TokenizerPath { get; internal init; }

    /// <summary>tokenizer_config.json of a directory.</summary>
    public string? TokenizerConfigPath { get; internal init; }

    /// <summary>The model's own Jinja template.</summary>
    public string? ChatTemplate { get; internal init; }

    public SpecialTokens Special { get; internal init; } = new();

    /// <summary>Ids that end a reply: EOS, and the end of a turn where that is another token.</summary>
    public IReadOnlyList<int> StopIds { get; internal init; } = [];

    /// <summary>
    /// llama.cpp's converter reorders the rows of Q and K (and their biases) of architecture llama for a rotation of adjacent rows: within a
    /// head of D rows, file row 2i is row i and file row 2i+1 is row i + D/2 of the half-split order that Hugging Face uses.
    /// </summary>
    public bool QueryKeyRowsInterleaved => Format == ModelFormat.Gguf && Architecture == "llama";

    /// <summary>Elements of all tensors.</summary>
    public long ParameterCount => File.Tensors.Values.Sum(t => t.ElementCount);

    /// <summary>The type that most elements are stored in.</summary>
    public string Quantization => File.Tensors.Values.GroupBy(t => t.Type).MaxBy(g => g.Sum(t => t.ElementCount))!.Key.ToString();

    /// <summary>Last change of the weights.</summary>
    public DateTimeOffset FileTime => new(System.IO.File.GetLastWriteTimeUtc(File.Path));

    /// <summary>The tensor in this place, or null if the model has none; names and formats are settled here and nowhere else.</summary>
    public TensorInfo? Find(TensorSlot slot, int layer = 0)
    {
        string? name = Decoder is not null ? TensorNames.OfDecoder(Format, slot, layer) : TensorNames.OfEncoder(Format, slot, layer);
        return name is null ? null : TensorNames.Find(File, name);
    }

    public TensorInfo Require(TensorSlot slot, int layer = 0) =>
        Find(slot, layer) ?? throw new ModelFileException(File.Path, 0, $"the tensor for {slot}{(layer > 0 ? $" of layer {layer}" : "")} is missing");

    public void Dispose() => File.Dispose();

    void Validate()
    {
        foreach (var (slot, layer, shape) in Decoder is not null ? ModelShapes.Of(Decoder) : ModelShapes.Of(Encoder!))
        {
            string name = (Decoder is not null ? TensorNames.OfDecoder(Format, slot, layer) : TensorNames.OfEncoder(Format, slot, layer))!;
            TensorInfo tensor = TensorNames.Find(File, name)
                ?? throw new ModelFileException(File.Path, 0, $"tensor '{name}' is missing; the configuration asks for {TensorInfo.Describe(shape)}");
            if (!tensor.Shape.AsSpan().SequenceEqual(shape))
                throw new ModelFileException(File.PathOf(tensor), tensor.Offset,
                    $"tensor '{tensor.Name}' has shape {tensor.ShapeText} where the configuration asks for {TensorInfo.Describe(shape)}");
        }
    }
}
