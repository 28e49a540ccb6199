using LongCtx.Engine.Models;
using LongCtx.Engine.Scheduling;
using LongCtx.Engine.Tokenization;

namespace LongCtx.Cli;

/// <summary>Opens what --model names.</summary>
internal static class ModelFiles
{
    public static ModelSource Open(string model) => ModelSource.Open(Resolve(model, out _));

    public static Tokenizer OpenTokenizer(string model)
    {
        using ModelSource source = Open(model);
        return ModelTokenizer.Load(source);
    }

    public static Task<DecoderModel> LoadDecoderAsync(InferenceEngine engine, string model) =>
        engine.LoadDecoderAsync(Resolve(model, out string name), name);

    public static Task<EncoderModel> LoadEncoderAsync(InferenceEngine engine, string model) =>
        engine.LoadEncoderAsync(Resolve(model, out string name), name);

    static string Resolve(string model, out string name)
    {
        if (model.Trim().Length == 0) throw new LongCtxException(ErrorCode.InvalidRequest, "--model must not be empty: give a bundled model's name or a path", "model");
        ModelCatalog catalog = ModelCatalog.Default();
        string path = catalog.Resolve(model);
        name = catalog.NameOf(path);
        return path;
    }
}
