using LongCtx.Engine.Adapters;
using LongCtx.Engine.Sampling;

namespace LongCtx.Engine.Training;

/// <summary>
/// Dropout on the input of a low-rank path, as PEFT has it: every path its own mask, the kept numbers divided by the probability of being
/// kept. The mask is a function of seed, step and place, so that the backward pass computes it again instead of storing it.
/// </summary>
internal readonly unsafe struct Dropout(ulong seed, long step, double rate)
{
    /// <summary>Keeps these random numbers apart from those of the first A, which have the same seed.</summary>
    const ulong Domain = 0x64726f706f757400;

    readonly uint _threshold = (uint)Math.Min(uint.MaxValue, rate * 4294967296.0);
    readonly float _factor = (float)(1 / (1 - rate));

    public bool IsNone => _threshold == 0;

    /// <summary>y (+)= mask × x / (1 - rate) for a row of <paramref name="n"/> inputs; in place where y is x.</summary>
    public void Apply(int layer, LoraTargets target, int row, float* x, float* y, int n, bool accumulate)
    {
        UInt128 place = new((ulong)step, (ulong)(uint)row << 32 | (uint)(layer * 128 + (int)target) << 16);
        for (int i = 0; i < n; i += 4)
        {
            // The counter's low 16 bits hold a group of four columns: 262,144 columns.
            UInt128 bits = Philox.Block(seed ^ Domain, place | (uint)(i / 4));
            for (int j = i; j < Math.Min(n, i + 4); j++, bits >>= 32)
            {
                float value = (uint)bits < _threshold ? 0 : x[j] * _factor;
                y[j] = accumulate ? y[j] + value : value;
            }
        }
    }
}
