namespace LongCtx.Engine.Templates;

/// <summary>The variable "loop" inside a for block.</summary>
internal sealed class Loop(IReadOnlyList<object?> items)
{
    object? _last;
    bool _seen;

    public int Index { get; set; }

    public object? Member(string name, Budget budget) => name switch
    {
        "index" => Index + 1L,
        "index0" => (long)Index,
        "revindex" => (long)(items.Count - Index),
        "revindex0" => items.Count - Index - 1L,
        "first" => Index == 0,
        "last" => Index == items.Count - 1,
        "length" => (long)items.Count,
        // Depth counts recursion, not nesting; recursive loops are not supported.
        "depth" => 1L,
        "depth0" => 0L,
        "previtem" => Index > 0 ? items[Index - 1] : new Undefined("there is no previous item"),
        "nextitem" => Index + 1 < items.Count ? items[Index + 1] : new Undefined("there is no next item"),
        "cycle" => new Callable(name, a => a.Positional.Count > 0 ? a.Positional[Index % a.Positional.Count] : throw budget.Error("cycle() needs values")),
        "changed" => new Callable(name, a => Changed(new Sequence(a.Positional, tuple: true), budget)),
        _ => new Undefined($"'loop' has no member '{name}'"),
    };

    bool Changed(Sequence values, Budget budget)
    {
        bool changed = !_seen || !Values.Equals(_last, values, budget);
        (_last, _seen) = (values, true);
        return changed;
    }
}
