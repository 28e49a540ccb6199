namespace LongCtx.Engine.Adapters;

/// <summary>The linear projections of a decoder layer, in the order of the forward pass.</summary>
[Flags]
public enum LoraTargets
{
    None = 0,
    Query = 1,
    Key = 2,
    Value = 4,
    Output = 8,
    Gate = 16,
    Up = 32,
    Down = 64,
    All = Query | Key | Value | Output | Gate | Up | Down,
}
