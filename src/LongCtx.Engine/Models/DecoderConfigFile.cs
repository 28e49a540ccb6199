using LongCtx.Engine.Files;

namespace LongCtx.Engine.Models;

/// <summary>A decoder's shape from a Hugging Face config.json alone, without its weights.</summary>
public static class DecoderConfigFile
{
    /// <exception cref="ModelFileException">It is no decoder's that the engine knows.</exception>
    public static DecoderConfig Read(string path)
    {
        using JsonFile file = JsonFile.Open(path);
        var fields = new JsonFields(file, file.Root);
        return HuggingFaceConfig.ReadDecoder(fields, HuggingFaceConfig.Architecture(fields));
    }
}
