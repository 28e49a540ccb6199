using LongCtx.Engine.Cache;

namespace LongCtx.Engine.Scheduling;

/// <summary>How many KV blocks a sequence can come to need: a running generation never has to be interrupted for want of them.</summary>
internal static class Admission
{
    /// <summary>
    /// Most blocks that a sequence of <paramref name="length"/> tokens holds at once, while it grows by at most <paramref name="chunk"/>
    /// tokens a step: sinks, what is visible, one block of eviction and one step, and partly used blocks at both ends.
    /// </summary>
    public static int BlocksMax(AttentionPolicy policy, long length, int chunk)
    {
        const int size = BlockPool.BlockSize;
        long sinks = (Math.Min(policy.Sinks, length) + size - 1) / size;
        long held = policy.IsUnlimited ? length : Math.Min(length, (long)policy.Capacity + policy.Block + chunk);
        long main = held / size + 2;
        if (policy.Group == 1) return (int)Math.Min(int.MaxValue, sinks + main);
        long near = Math.Min(held, (long)policy.Neighbours + chunk) / size + 2;
        return (int)Math.Min(int.MaxValue, 2 * sinks + main + near);
    }
}
