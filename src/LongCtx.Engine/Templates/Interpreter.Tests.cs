namespace LongCtx.Engine.Templates;

internal sealed partial class Interpreter
{
    bool ApplyTest(string name, object? value, Passed a) => name switch
    {
        "defined" => value is not Undefined,
        "undefined" => value is Undefined,
        "none" => value is null,
        "string" => value is string,
        "mapping" => value is Mapping,
        "iterable" => value is string or Sequence or Mapping or Undefined,
        "sequence" => value is string or Sequence or Mapping or Undefined,
        "number" => value is bool or long or double,
        "integer" => value is long,
        "float" => value is double,
        "boolean" => value is bool,
        "true" => value is true,
        "false" => value is false,
        "callable" => value is Callable,
        "escaped" => false,
        "sameas" => Same(value, Required(a, 0, "other")),
        "equalto" or "eq" or "==" => Values.Equals(value, Required(a, 0, "other"), _budget),
        "ne" or "!=" => !Values.Equals(value, Required(a, 0, "other"), _budget),
        "lt" or "lessthan" or "<" => Values.Compare(value, Required(a, 0, "other"), _budget) < 0,
        "le" or "<=" => Values.Compare(value, Required(a, 0, "other"), _budget) <= 0,
        "gt" or "greaterthan" or ">" => Values.Compare(value, Required(a, 0, "other"), _budget) > 0,
        "ge" or ">=" => Values.Compare(value, Required(a, 0, "other"), _budget) >= 0,
        "in" => Contains(Required(a, 0, "seq"), value),
        "divisibleby" => Remainder(value, Required(a, 0, "num")) == 0,
        "even" => Remainder(value, 2L) == 0,
        "odd" => Remainder(value, 2L) == 1,
        "lower" => Values.Str(value, _budget) is var s && s.ToLowerInvariant() == s && s.Any(char.IsLower),
        "upper" => Values.Str(value, _budget) is var s && s.ToUpperInvariant() == s && s.Any(char.IsUpper),
        _ => throw _budget.Error($"test '{name}' is not supported"),
    };

    /// <summary>Identity; for the values that Python keeps one of, equality.</summary>
    static bool Same(object? a, object? b) => ReferenceEquals(a, b) || (a is bool x && b is bool y && x == y)
        || (a is long i && b is long k && i == k) || (a is string s && b is string t && s == t);

    double Remainder(object? value, object? divisor) => Calculate("%", value, divisor) switch
    {
        long n => n,
        double d => d,
        _ => double.NaN,
    };
}
