using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;

namespace LongCtx.Engine.Templates;

internal sealed partial class Interpreter
{
    object? Evaluate(Expression expression)
    {
        _budget.Charge(1);
        _budget.Line = expression.Line;
        if (!RuntimeHelpers.TryEnsureSufficientExecutionStack()) throw _budget.Error("expressions and calls are nested too deeply");
        switch (expression)
        {
            case Literal literal:
                return literal.Value;
            case Name name:
                return Lookup(name.Id);
            case Given:
                return _given;
            case ListLiteral list:
                _budget.Charge(list.Items.Count);
                return new Sequence([.. list.Items.Select(Evaluate)], list.Tuple);
            case DictLiteral literal:
                Mapping map = new();
                foreach ((Expression key, Expression value) in literal.Items) map.Entries[Key(Evaluate(key))] = Evaluate(value);
                return map;
            case Member member:
                return MemberOf(Evaluate(member.Object), member.Id);
            case Index index:
                return ItemOf(Evaluate(index.Object), Evaluate(index.Key));
            case Slice slice:
                return SliceOf(slice);
            case Call call:
                return Invoke(call);
            case Filter filter:
                object? input = Evaluate(filter.Input);
                Passed filterArguments = Pass(filter.Arguments);
                _budget.Line = filter.Line;
                return ApplyFilter(filter.Id, input, filterArguments);
            case Test test:
                object? tested = Evaluate(test.Input);
                Passed testArguments = Pass(test.Arguments);
                _budget.Line = test.Line;
                return ApplyTest(test.Id, tested, testArguments) != test.Negated;
            case Unary unary:
                return Calculate(unary, Evaluate(unary.Operand));
            case Binary { Operator: "and" } and:
                object? left = Evaluate(and.Left);
                return Values.IsTrue(left) ? Evaluate(and.Right) : left;
            case Binary { Operator: "or" } or:
                object? first = Evaluate(or.Left);
                return Values.IsTrue(first) ? first : Evaluate(or.Right);
            case Binary binary:
                object? a = Evaluate(binary.Left), b = Evaluate(binary.Right);
                _budget.Line = binary.Line;
                return Calculate(binary.Operator, a, b);
            case Comparison comparison:
                object? previous = Evaluate(comparison.First);
                foreach ((string op, Expression right) in comparison.Rest)
                {
                    object? next = Evaluate(right);
                    _budget.Line = comparison.Line;
                    if (!Holds(op, previous, next)) return false;
                    previous = next;
                }
                return true;
            case Conditional conditional:
                if (Values.IsTrue(Evaluate(conditional.Test))) return Evaluate(conditional.Then);
                return conditional.Else is null ? new Undefined("an inline if without else has no value") : Evaluate(conditional.Else);
            default:
                throw new InvalidOperationException(expression.GetType().Name);
        }
    }

    object? Lookup(string name) => _scope.TryGet(name, out object? value) ? value : new Undefined($"'{name}' is undefined");

    Passed Pass(Arguments arguments)
    {
        if (arguments.Positional.Count == 0 && arguments.Named.Count == 0) return NoArguments;
        Dictionary<string, object?> named = [];
        object?[] positional = [.. arguments.Positional.Select(Evaluate)];
        foreach ((string name, Expression value) in arguments.Named) named[name] = Evaluate(value);
        return new Passed(positional, named);
    }

    static readonly Passed NoArguments = new([], new Dictionary<string, object?>());

    object? Invoke(Call call)
    {
        object? callee = Evaluate(call.Callee);
        Passed arguments = Pass(call.Arguments);
        _budget.Line = call.Line;
        return callee switch
        {
            Callable function => function.Invoke(arguments),
            Undefined undefined => throw _budget.Error(undefined.What),
            _ => throw _budget.Error($"{Values.TypeName(callee)} cannot be called"),
        };
    }

    object Key(object? value) => value switch
    {
        string or long or bool or double => value,
        _ => throw _budget.Error($"{Values.TypeName(value)} cannot be a key"),
    };

    /// <summary>value.name: a method, or the entry of that name.</summary>
    object? MemberOf(object? value, string name) => value switch
    {
        Undefined undefined => throw _budget.Error(undefined.What),
        Namespace ns => ns.Members.TryGetValue(name, out object? member) ? member : Missing(value, name),
        Loop loop => loop.Member(name, _budget),
        Mapping map => MappingMethod(map, name) ?? (map.Entries.TryGetValue(name, out object? entry) ? entry : Missing(value, name)),
        string text => StringMethod(text, name) ?? Missing(value, name),
        Sequence list => SequenceMethod(list, name) ?? Missing(value, name),
        _ => Missing(value, name),
    };

    static object Missing(object? value, string name) => new Undefined($"{Values.TypeName(value)} has no member '{name}'");

    /// <summary>value[key].</summary>
    object? ItemOf(object? value, object? key)
    {
        switch (value)
        {
            case Undefined undefined:
                throw _budget.Error(undefined.What);
            case Mapping map when key is string or long or bool or double:
                return map.Entries.TryGetValue(key, out object? entry) ? entry : key is string method && MappingMethod(map, method) is { } bound ? bound
                    : new Undefined($"the mapping has no entry {Values.Str(key, _budget)}");
            case Sequence list when Values.Number(key) is long i:
                if (i < 0) i += list.Items.Count;
                return i >= 0 && i < list.Items.Count ? list.Items[(int)i] : new Undefined("an index is outside the list");
            case string text when Values.Number(key) is long i:
                List<string> characters = Characters(text);
                if (i < 0) i += characters.Count;
                return i >= 0 && i < characters.Count ? characters[(int)i] : new Undefined("an index is outside the string");
            default:
                return key is string name ? MemberOf(value, name) : new Undefined($"{Values.TypeName(value)} has no such entry");
        }
    }

    object? SliceOf(Slice slice)
    {
        object? value = Evaluate(slice.Object);
        long? from = Bound(slice.From), to = Bound(slice.To), step = Bound(slice.Step);
        _budget.Line = slice.Line;
        if (step == 0) throw _budget.Error("a slice's step is 0");
        return value switch
        {
            string text => string.Concat(Sliced(Characters(text), from, to, step ?? 1)),
            Sequence list => new Sequence(Sliced(list.Items, from, to, step ?? 1), list.Tuple),
            Undefined undefined => throw _budget.Error(undefined.What),
            _ => throw _budget.Error($"{Values.TypeName(value)} cannot be sliced"),
        };

        long? Bound(Expression? e) => e is null ? null : Evaluate(e) switch
        {
            null => null,
            { } v when Values.Number(v) is long n => n,
            { } v => throw _budget.Error($"a slice's bound is {Values.TypeName(v)}"),
        };
    }

    /// <summary>Python's slice: bounds count from the end when negative, and are clipped.</summary>
    List<T> Sliced<T>(IReadOnlyList<T> items, long? from, long? to, long step)
    {
        int n = items.Count;
        long low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
        long start = from is { } f ? Math.Clamp(f < 0 ? Math.Max(f, -n - 1) + n : f, low, high) : step > 0 ? low : high;
        long end = to is { } t ? Math.Clamp(t < 0 ? Math.Max(t, -n - 1) + n : t, low, high) : step > 0 ? high : low;
        step = Math.Clamp(step, -n - 1, n + 1);
        List<T> result = [];
        for (long i = start; step > 0 ? i < end : i > end; i += step) result.Add(items[(int)i]);
        _budget.Charge(result.Count);
        return result;
    }

    List<object?> Iterate(object? value)
    {
        List<object?> items = value switch
        {
            Sequence list => [.. list.Items],
            Mapping map => [.. map.Entries.Keys],
            string text => [.. Characters(text)],
            Undefined => [],
            _ => throw _budget.Error($"{Values.TypeName(value)} cannot be iterated over"),
        };
        _budget.Charge(items.Count);
        return items;
    }

    /// <summary>A text's characters: Python counts code points.</summary>
    List<string> Characters(string text)
    {
        _budget.Charge(text.Length);
        List<string> characters = new(text.Length);
        for (int i = 0, width; i < text.Length; i += width)
        {
            width = char.IsHighSurrogate(text[i]) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]) ? 2 : 1;
            characters.Add(text.Substring(i, width));
        }
        return characters;
    }

    static long CharacterCount(string text)
    {
        long count = 0;
        foreach (Rune _ in text.EnumerateRunes()) count++;
        return count;
    }

    object Calculate(Unary unary, object? operand)
    {
        _budget.Line = unary.Line;
        if (unary.Operator == "not") return !Values.IsTrue(operand);
        return (unary.Operator, Values.Number(operand)) switch
        {
            ("-", long n) when n != long.MinValue => -n,
            ("-", double d) => -d,
            ("+", { } number) => number,
            _ => throw Unfit(unary.Operator, operand),
        };
    }

    object Calculate(string op, object? a, object? b)
    {
        switch (op, a, b)
        {
            case ("~", _, _): return Joined(Values.Str(a, _budget), Values.Str(b, _budget));
            case ("+", string s, string t): return Joined(s, t);
            case ("+", Sequence s, Sequence t) when s.Tuple == t.Tuple:
                _budget.Charge(s.Items.Count + t.Items.Count);
                return new Sequence([.. s.Items, .. t.Items], s.Tuple);
            case ("*", string s, _) when Values.Number(b) is long n: return Repeated(s, n);
            case ("*", _, string s) when Values.Number(a) is long n: return Repeated(s, n);
            case ("*", Sequence s, _) when Values.Number(b) is long n: return RepeatedList(s, n);
            case ("*", _, Sequence s) when Values.Number(a) is long n: return RepeatedList(s, n);
        }
        if (Values.Number(a) is not { } x) throw Unfit(op, a);
        if (Values.Number(b) is not { } y) throw Unfit(op, b);
        try
        {
            return x is long i && y is long k ? Integers(op, i, k)
                : Floats(op, Convert.ToDouble(x, CultureInfo.InvariantCulture), Convert.ToDouble(y, CultureInfo.InvariantCulture));
        }
        catch (OverflowException)
        {
            throw _budget.Error("a number became too large");
        }
    }

    object Integers(string op, long a, long b)
    {
        if (b == 0 && op is "/" or "//" or "%") throw _budget.Error("division by zero");
        switch (op)
        {
            case "+": return checked(a + b);
            case "-": return checked(a - b);
            case "*": return checked(a * b);
            case "/": return (double)a / b;
            case "//": return b == -1 ? checked(-a) : a / b - (a % b != 0 && (a % b < 0) != (b < 0) ? 1 : 0);
            case "%": return b == -1 ? 0L : a % b + (a % b != 0 && (a % b < 0) != (b < 0) ? b : 0);
            case "**" when b < 0: return Math.Pow(a, b);
            case "**":
                long power = 1;
                if (a is 0 or 1 or -1) return b == 0 ? 1L : a == -1 && b % 2 == 0 ? 1L : a;
                for (; b > 0; b--) power = checked(power * a);
                return power;
            default: throw new InvalidOperationException(op);
        }
    }

    object Floats(string op, double a, double b)
    {
        if (b == 0 && op is "/" or "//" or "%") throw _budget.Error("division by zero");
        return op switch
        {
            "+" => a + b,
            "-" => a - b,
            "*" => a * b,
            "/" => a / b,
            "//" => Math.Floor(a / b),
            "%" => a - b * Math.Floor(a / b),
            "**" => Math.Pow(a, b),
            _ => throw new InvalidOperationException(op),
        };
    }

    string Joined(string a, string b)
    {
        _budget.ChargeText((long)a.Length + b.Length);
        return a + b;
    }

    string Repeated(string text, long times)
    {
        times = text.Length == 0 ? 0 : Math.Clamp(times, 0, Budget.TextMax + 1L);
        _budget.ChargeText(text.Length * times);
        return new StringBuilder().Insert(0, text, (int)times).ToString();
    }

    Sequence RepeatedList(Sequence list, long times)
    {
        times = list.Items.Count == 0 ? 0 : Math.Clamp(times, 0, int.MaxValue);
        _budget.Charge(list.Items.Count * times);
        return new Sequence([.. Enumerable.Range(0, (int)times).SelectMany(_ => list.Items)], list.Tuple);
    }

    bool Holds(string op, object? a, object? b) => op switch
    {
        "==" => Values.Equals(a, b, _budget),
        "!=" => !Values.Equals(a, b, _budget),
        "<" => Values.Compare(a, b, _budget) < 0,
        "<=" => Values.Compare(a, b, _budget) <= 0,
        ">" => Values.Compare(a, b, _budget) > 0,
        ">=" => Values.Compare(a, b, _budget) >= 0,
        "in" => Contains(b, a),
        "not in" => !Contains(b, a),
        _ => throw new InvalidOperationException(op),
    };

    bool Contains(object? container, object? item)
    {
        switch (container)
        {
            case string text:
                _budget.Charge(text.Length / 8);
                return item is string part ? text.Contains(part, StringComparison.Ordinal)
                    : throw _budget.Error($"'in' a string needs a string, not {Values.TypeName(item)}");
            case Mapping map:
                return item is string or long or bool or double && map.Entries.ContainsKey(item);
            case Sequence list:
                foreach (object? other in list.Items)
                    if (Values.Equals(item, other, _budget)) return true;
                return false;
            case Undefined:
                return false;
            default:
                throw _budget.Error($"{Values.TypeName(container)} cannot contain anything");
        }
    }

    ChatTemplateException Unfit(string op, object? operand) =>
        _budget.Error(operand is Undefined undefined ? undefined.What : $"'{op}' does not work on {Values.TypeName(operand)}");
}
