using System.Numerics;
using LongCtx.Engine.Models;

namespace LongCtx.Engine.Adapters;

/// <summary>
/// Where the matrices of a low-rank adapter lie in one flat buffer of floats. Beside the frozen projection W [out, in] of layer l stands
/// (alpha / r) B A, with A [r, in] and B [out, r], both row-major; layers ascend, in a layer the targets, and A lies before B.
/// The same layout serves weights, gradients and the moments of the optimiser.
/// </summary>
public sealed class LoraLayout
{
    public const int RankMax = 256;

    static readonly LoraTargets[] EachTarget = [LoraTargets.Query, LoraTargets.Key, LoraTargets.Value, LoraTargets.Output, LoraTargets.Gate, LoraTargets.Up, LoraTargets.Down];

    readonly long[] _offsets = new long[EachTarget.Length]; // of A in a layer, by number of the target
    readonly long _layerCount;

    /// <exception cref="ArgumentException">A number is out of its range; the message says which and what would do.</exception>
    public LoraLayout(DecoderConfig config, int rank, double alpha, LoraTargets targets)
    {
        if (rank is < 1 or > RankMax) throw new ArgumentException($"rank {rank} is not within 1..{RankMax}", nameof(rank));
        if (!double.IsFinite(alpha) || alpha <= 0) throw new ArgumentException($"alpha {alpha} must be a positive number", nameof(alpha));
        if (targets == LoraTargets.None || (targets & ~LoraTargets.All) != LoraTargets.None) throw new ArgumentException($"targets {targets} name no projection: use any of q, k, v, o, gate, up, down", nameof(targets));
        (Config, Rank, Alpha, Targets) = (config, rank, alpha, targets);
        foreach (LoraTargets target in EachTarget)
        {
            if (!targets.HasFlag(target)) continue;
            _offsets[Number(target)] = _layerCount;
            _layerCount += (long)rank * (Inputs(target) + Outputs(target));
        }
    }

    public DecoderConfig Config { get; }

    /// <summary>r</summary>
    public int Rank { get; }

    public double Alpha { get; }

    public LoraTargets Targets { get; }

    /// <summary>Factor of B A.</summary>
    public float Scale => (float)(Alpha / Rank);

    /// <summary>Floats of the whole adapter.</summary>
    public long Count => _layerCount * Config.LayerCount;

    /// <summary>The targets that the adapter has, in the order of the layout.</summary>
    public IEnumerable<LoraTargets> PresentTargets => EachTarget.Where(t => Targets.HasFlag(t));

    /// <summary>What a model has otherwise than the one that this layout is for, in words; null when an adapter of it fits.</summary>
    public string? Difference(DecoderConfig model)
    {
        if (ReferenceEquals(model, Config)) return null;
        if (model.LayerCount != Config.LayerCount) return $"it was made for {Config.LayerCount} layers and the model has {model.LayerCount}";
        foreach (LoraTargets target in PresentTargets)
        {
            var other = new LoraLayout(model, Rank, Alpha, target);
            if (other.Inputs(target) != Inputs(target) || other.Outputs(target) != Outputs(target))
                return $"its {target} projection is [{Outputs(target)}, {Inputs(target)}] and the model's [{other.Outputs(target)}, {other.Inputs(target)}]";
        }

        return null;
    }

    /// <summary>Columns of the projection.</summary>
    public int Inputs(LoraTargets target) => target switch
    {
        LoraTargets.Output => Config.QuerySize,
        LoraTargets.Down => Config.FeedForwardSize,
        _ => Config.HiddenSize,
    };

    /// <summary>Rows of the projection.</summary>
    public int Outputs(LoraTargets target) => target switch
    {
        LoraTargets.Query => Config.QuerySize,
        LoraTargets.Key or LoraTargets.Value => Config.KeyValueSize,
        LoraTargets.Gate or LoraTargets.Up => Config.FeedForwardSize,
        _ => Config.HiddenSize,
    };

    /// <summary>Index of the first element of A [r, in].</summary>
    public long A(int layer, LoraTargets target) => layer * _layerCount + _offsets[Number(target)];

    /// <summary>Index of the first element of B [out, r].</summary>
    public long B(int layer, LoraTargets target) => A(layer, target) + (long)Rank * Inputs(target);

    static int Number(LoraTargets target) => BitOperations.TrailingZeroCount((int)target);
}
