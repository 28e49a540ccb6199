using LongCtx.Engine.Cache;

namespace LongCtx.Cli.Evaluation;

/// <summary>How much KV memory one sequence may need.</summary>
internal static class KvDemand
{
    /// <summary>Most blocks held while <paramref name="tokens"/> tokens are fed in chunks; nothing is given back before a chunk is done.</summary>
    public static int Blocks(AttentionPolicy policy, long tokens, int chunk)
    {
        long seen = policy.IsUnlimited ? tokens : Math.Min(tokens, (long)policy.Capacity + policy.Block);
        long near = policy.Group == 1 ? seen : Math.Min(seen, policy.Neighbours);
        long far = policy.Group == 1 ? 0 : seen;
        long blocks = Tables(near + chunk) + (far > 0 ? Tables(far + chunk) : 0) + 2 * Tables(policy.Sinks);
        return (int)Math.Min(blocks, int.MaxValue);
    }

    /// <summary>A range that begins and ends inside blocks, and one block being copied.</summary>
    static long Tables(long tokens) => tokens / BlockPool.BlockSize + 3;
}
