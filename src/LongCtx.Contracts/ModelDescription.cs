namespace LongCtx;

/// <summary>A loaded model as clients see it.</summary>
/// <param name="Id">Name used in requests.</param>
/// <param name="Kind">"decoder" or "encoder".</param>
/// <param name="Architecture">As in the file: llama, qwen2, bert, ...</param>
/// <param name="Quantization">Most common tensor type, for instance "Q4_1".</param>
/// <param name="TrainedLength">Positions seen in training.</param>
/// <param name="Policy">The five numbers S,W,G,C,B that a conversation gets unless it asks for others; empty for an encoder.</param>
/// <param name="Created">Unix time of the model file.</param>
public sealed record ModelDescription(
    string Id, string Kind, string Architecture, long Parameters, string Quantization, int TrainedLength, string Policy, long Created)
{
    /// <summary>The model that this is an adapter of; null for a model.</summary>
    public string? Parent { get; init; }

    /// <summary>What works less well with this model than with others, for its operator; null when nothing does.</summary>
    public string? Warning { get; init; }
}

/// <summary>Load of a host, for health checks and the page.</summary>
public sealed record HostStatus(bool Ready, int Running, int Queued, int KvBlocksUsed, int KvBlocksTotal);
