using LongCtx.Engine.Adapters;
using LongCtx.Engine.Models;

namespace LongCtx.Engine.Training;

/// <summary>Projections that read the same input and are stacked in one matrix (<see cref="Cpu.DecoderLayer"/>).</summary>
internal sealed class ProjectionGroup
{
    ProjectionGroup(int inputs, params (LoraTargets Target, TensorSlot Slot, int Outputs)[] members)
    {
        Inputs = inputs;
        int first = 0;
        foreach ((LoraTargets target, TensorSlot slot, int outputs) in members)
        {
            Members.Add(new(target, slot, first, outputs));
            first += outputs;
        }

        Outputs = first;
    }

    /// <param name="FirstOutput">Row of the stacked matrix.</param>
    public readonly record struct Member(LoraTargets Target, TensorSlot Slot, int FirstOutput, int Outputs);

    public List<Member> Members { get; } = [];

    public int Inputs { get; }

    /// <summary>Of all members together.</summary>
    public int Outputs { get; }

    public static ProjectionGroup QueryKeyValue(DecoderConfig c) => new(c.HiddenSize,
        (LoraTargets.Query, TensorSlot.Query, c.QuerySize), (LoraTargets.Key, TensorSlot.Key, c.KeyValueSize), (LoraTargets.Value, TensorSlot.Value, c.KeyValueSize));

    public static ProjectionGroup AttentionOutput(DecoderConfig c) => new(c.QuerySize, (LoraTargets.Output, TensorSlot.AttentionOutput, c.HiddenSize));

    public static ProjectionGroup GateUp(DecoderConfig c) => new(c.HiddenSize,
        (LoraTargets.Gate, TensorSlot.Gate, c.FeedForwardSize), (LoraTargets.Up, TensorSlot.Up, c.FeedForwardSize));

    public static ProjectionGroup Down(DecoderConfig c) => new(c.FeedForwardSize, (LoraTargets.Down, TensorSlot.Down, c.HiddenSize));

    public bool Has(LoraTargets targets)
    {
        foreach (Member member in Members)
            if (targets.HasFlag(member.Target)) return true;
        return false;
    }
}
