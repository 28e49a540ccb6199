using LongCtx.Engine.Scheduling;

namespace LongCtx.Conversations.Local;

public sealed partial class ModelHost
{
    public ValueTask<IReadOnlyList<ModelDescription>> ListModelsAsync(CancellationToken cancellation = default) =>
        ValueTask.FromResult<IReadOnlyList<ModelDescription>>([.. _decoders.Select(d => d.Describe()), .. _encoders.Select(Describe)]);

    public async ValueTask<EmbeddingResult> EmbedAsync(string tenant, EmbeddingRequest request, CancellationToken cancellation = default)
    {
        var encoder = FindEncoder(request.Model);
        if (request.Inputs.Count == 0) throw Refuse("input is empty: give at least one text", "input");

        int truncated = 0, lengthMax = encoder.Config.MaximumLength;
        var inputs = new int[request.Inputs.Count][];
        for (int i = 0; i < inputs.Length; i++)
        {
            int[] ids = encoder.Tokenizer.Encode(request.Inputs[i], parseSpecial: false, addSpecial: true);
            if (ids.Length > lengthMax)
            {
                truncated++;
                ids = [.. ids.AsSpan(0, lengthMax - 1), ids[^1]]; // the closing [SEP] stays
            }
            inputs[i] = ids;
        }

        float[][] vectors = await Engine.EmbedAsync(encoder, inputs).WaitAsync(cancellation).ConfigureAwait(false);
        return new(encoder.Name, vectors, inputs.Sum(ids => ids.Length), truncated);
    }

    public ValueTask<HostStatus> GetStatusAsync(CancellationToken cancellation = default)
    {
        var status = Engine.Status;
        return ValueTask.FromResult(new HostStatus(true, status.Running, status.Queued, status.BlocksUsed, status.BlocksTotal) { Devices = [Engine.Device] });
    }

    /// <summary>Token ids of a decoder are below it; 0 for an encoder.</summary>
    public int VocabularySizeOf(string model) => _decoders.FirstOrDefault(d => d.Name == model)?.Model.Config.VocabularySize ?? 0;

    EncoderModel FindEncoder(string? name)
    {
        if (_encoders.FirstOrDefault(e => name is null || e.Name == name) is { } encoder) return encoder;
        if (_decoders.Any(d => d.Name == name)) throw Refuse($"model {name} generates text: embeddings need an encoder", "model");
        throw NotFound(name, _encoders.Select(e => e.Name), "for embeddings");
    }

    static ModelDescription Describe(EncoderModel model) => new(
        model.Name, "encoder", model.Source.Architecture, model.Source.ParameterCount, model.Source.Quantization, model.Config.MaximumLength,
        "", model.Source.FileTime.ToUnixTimeSeconds());
}
