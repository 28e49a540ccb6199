using LongCtx.Engine.Files;

namespace LongCtx.Engine.Models;

public sealed partial class ModelSource
{
    /// <summary>Opens a .gguf file or a Hugging Face directory (config.json with model.safetensors or its index).</summary>
    public static ModelSource Open(string path)
    {
        if (Directory.Exists(path)) return HuggingFaceModel.Open(path);
        if (!System.IO.File.Exists(path))
            throw new ModelFileException(path, 0, "does not exist; give a .gguf file or a Hugging Face directory");
        if (path.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase))
            throw new ModelFileException(path, 0, "a safetensors file does not say what model it holds; give its directory, with config.json, instead");
        return GgufModel.Open(path);
    }

    /// <summary>A source over tensors that are already open, for tests: no tokenizer, nothing read from disk.</summary>
    internal static ModelSource Of(ModelFile file, ModelFormat format, DecoderConfig config) => new(file.Path, format, file, config, encoder: null);
}
