using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;

namespace LongCtx.Engine.Scheduling;

/// <summary>From token <paramref name="At"/> of a sequence on, keys are computed under <paramref name="Weights"/>; null is the base.</summary>
public readonly record struct AdapterSwitch(long At, LoraWeights? Weights);

/// <summary>
/// The adapter versions that a sequence changes to at given tokens, so that it computes every token under the same version again when it is replayed. A
/// version that is not stored yet is a hold: the sequence goes on up to it and waits there. Engine thread only.
/// </summary>
internal sealed class AdapterSchedule
{
    readonly List<(AdapterSwitch Switch, bool IsHeld)> _next = []; // ascending

    public void Set(IEnumerable<AdapterSwitch> switches)
    {
        _next.Clear();
        _next.AddRange(switches.OrderBy(s => s.At).Select(s => (s, false)));
    }

    /// <summary>The last token at which it changes; 0 when there is none to come.</summary>
    public long End => _next is [.., var (last, _)] ? last.At : 0;

    public void Hold(long at)
    {
        int index = _next.FindIndex(n => n.Switch.At > at);
        _next.Insert(index < 0 ? _next.Count : index, (new(at, null), true));
    }

    /// <summary>The hold at a token ends: with another version, or as if it had never been.</summary>
    public void Release(long at, bool changes, LoraWeights? weights)
    {
        int index = _next.FindIndex(n => n.IsHeld && n.Switch.At == at);
        if (index < 0) return; // the schedule was set anew meanwhile
        if (changes) _next[index] = (new(at, weights), false);
        else _next.RemoveAt(index);
    }

    /// <summary>Makes the changes that are due; how many tokens the cache may take before the next one, 0 for none now.</summary>
    public int Advance(KvSequence cache)
    {
        while (_next is [var (next, isHeld), ..])
        {
            if (next.At > cache.Count) return (int)Math.Min(next.At - cache.Count, int.MaxValue);
            if (isHeld) return 0;
            cache.Adapter = next.Weights;
            _next.RemoveAt(0);
        }

        return int.MaxValue;
    }
}
