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
public sealed record HostStatus(bool Ready, int Running, int Queued, int KvBlocksUsed, int KvBlocksTotal)
{
    /// <summary>What it computes with; empty for a gateway.</summary>
    public IReadOnlyList<DeviceDescription> Devices { get; init; } = [];
}

/// <summary>What an engine computes with.</summary>
/// <param name="Kind">"cpu".</param>
/// <param name="Name">The instruction set of its quickest kernels: avx512, avxvnni, avx2 or portable.</param>
/// <param name="Threads">Threads that compute.</param>
public sealed record DeviceDescription(string Kind, string Name, int Threads);
