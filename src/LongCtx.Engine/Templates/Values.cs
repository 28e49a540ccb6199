using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;

namespace LongCtx.Engine.Templates;

/// <summary>What a name or member without a value is: empty in output, false in tests, an error in arithmetic.</summary>
internal sealed class Undefined(string what)
{
    public string What { get; } = what;
}

/// <summary>A list or a tuple. Never changed once made, so no value can contain itself.</summary>
internal sealed class Sequence(IReadOnlyList<object?> items, bool tuple = false)
{
    public IReadOnlyList<object?> Items { get; } = items;

    public bool Tuple { get; } = tuple;
}

/// <summary>A mapping in the order of its entries. Keys are strings, whole numbers, floats and booleans.</summary>
internal sealed class Mapping
{
    public OrderedDictionary<object, object?> Entries { get; } = [];
}

/// <summary>namespace(): the one thing whose members a template may set.</summary>
internal sealed class Namespace
{
    public Dictionary<string, object?> Members { get; } = [];
}

/// <summary>Positional and named values of a call.</summary>
internal sealed record Passed(IReadOnlyList<object?> Positional, IReadOnlyDictionary<string, object?> Named)
{
    /// <summary>The argument at a place or of a name.</summary>
    public bool TryGet(int index, string name, out object? value)
    {
        if (index < Positional.Count)
        {
            value = Positional[index];
            return true;
        }
        return Named.TryGetValue(name, out value);
    }
}

internal sealed record Callable(string Id, Func<Passed, object?> Invoke);

/// <summary>
/// Values as Python has them: null is None, then bool, long, double, string, <see cref="Sequence"/>, <see cref="Mapping"/>,
/// <see cref="Namespace"/>, <see cref="Callable"/>, <see cref="Loop"/> and <see cref="Undefined"/>.
/// </summary>
internal static class Values
{
    /// <summary>White space of Python's str.strip: Unicode's, and the four separators U+001C to U+001F.</summary>
    public static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\x1C' and <= '\x1F';

    public static string TypeName(object? value) => value switch
    {
        null => "None",
        bool => "a boolean",
        long => "an integer",
        double => "a float",
        string => "a string",
        Sequence { Tuple: true } => "a tuple",
        Sequence => "a list",
        Mapping => "a mapping",
        Namespace => "a namespace",
        Undefined => "undefined",
        _ => "a function",
    };

    public static bool IsTrue(object? value) => value switch
    {
        null or Undefined => false,
        bool b => b,
        long n => n != 0,
        double d => d != 0,
        string s => s.Length > 0,
        Sequence list => list.Items.Count > 0,
        Mapping map => map.Entries.Count > 0,
        _ => true,
    };

    /// <summary>bool is an integer in arithmetic.</summary>
    public static object? Number(object? value) => value switch
    {
        bool b => b ? 1L : 0L,
        long or double => value,
        _ => null,
    };

    public static bool Equals(object? a, object? b, Budget budget)
    {
        Guard(budget);
        if (Number(a) is { } x && Number(b) is { } y)
            return x is long i && y is long k ? i == k : Convert.ToDouble(x, CultureInfo.InvariantCulture) == Convert.ToDouble(y, CultureInfo.InvariantCulture);
        switch (a, b)
        {
            case (string s, string t):
                budget.Charge(Math.Min(s.Length, t.Length) / 8);
                return s == t;
            case (Sequence s, Sequence t):
                if (s.Tuple != t.Tuple || s.Items.Count != t.Items.Count) return false;
                for (int n = 0; n < s.Items.Count; n++) if (!Equals(s.Items[n], t.Items[n], budget)) return false;
                return true;
            case (Mapping s, Mapping t):
                if (s.Entries.Count != t.Entries.Count) return false;
                foreach ((object key, object? value) in s.Entries)
                    if (!t.Entries.TryGetValue(key, out object? other) || !Equals(value, other, budget)) return false;
                return true;
            case (Undefined, Undefined):
                return true;
            default:
                return ReferenceEquals(a, b);
        }
    }

    public static int Compare(object? a, object? b, Budget budget)
    {
        Guard(budget);
        if (Number(a) is { } x && Number(b) is { } y)
            return x is long i && y is long k
                ? i.CompareTo(k) : Convert.ToDouble(x, CultureInfo.InvariantCulture).CompareTo(Convert.ToDouble(y, CultureInfo.InvariantCulture));
        switch (a, b)
        {
            case (string s, string t):
                budget.Charge(Math.Min(s.Length, t.Length) / 8);
                return string.CompareOrdinal(s, t);
            case (Sequence s, Sequence t) when s.Tuple == t.Tuple:
                for (int n = 0; n < Math.Min(s.Items.Count, t.Items.Count); n++)
                    if (!Equals(s.Items[n], t.Items[n], budget)) return Compare(s.Items[n], t.Items[n], budget);
                return s.Items.Count.CompareTo(t.Items.Count);
            default:
                throw budget.Error($"cannot compare {TypeName(a)} with {TypeName(b)}");
        }
    }

    /// <summary>str(value).</summary>
    public static string Str(object? value, Budget budget)
    {
        switch (value)
        {
            case string s: return s;
            case Undefined: return "";
            default:
                StringBuilder text = new();
                Repr(value, text, budget);
                return text.ToString();
        }
    }

    /// <summary>repr(value), which is also str(value) for all but strings.</summary>
    static void Repr(object? value, StringBuilder text, Budget budget)
    {
        Guard(budget);
        if (text.Length > Budget.TextMax) throw budget.Error($"makes a text of more than {Budget.TextMax} characters");
        switch (value)
        {
            case null: text.Append("None"); break;
            case bool b: text.Append(b ? "True" : "False"); break;
            case long n: text.Append(n.ToString(CultureInfo.InvariantCulture)); break;
            case double d: text.Append(Float(d)); break;
            case string s:
                budget.ChargeText(s.Length);
                ReprString(s, text);
                break;
            case Undefined: text.Append("Undefined"); break;
            case Sequence list:
                text.Append(list.Tuple ? '(' : '[');
                for (int i = 0; i < list.Items.Count; i++)
                {
                    if (i > 0) text.Append(", ");
                    Repr(list.Items[i], text, budget);
                }
                if (list is { Tuple: true, Items.Count: 1 }) text.Append(',');
                text.Append(list.Tuple ? ')' : ']');
                break;
            case Mapping map:
                text.Append('{');
                for (int i = 0; i < map.Entries.Count; i++)
                {
                    if (i > 0) text.Append(", ");
                    (object key, object? item) = map.Entries.GetAt(i);
                    Repr(key, text, budget);
                    text.Append(": ");
                    Repr(item, text, budget);
                }
                text.Append('}');
                break;
            default:
                throw budget.Error($"{TypeName(value)} cannot be written as text");
        }
    }

    static void ReprString(string s, StringBuilder text)
    {
        char quote = s.Contains('\'', StringComparison.Ordinal) && !s.Contains('"', StringComparison.Ordinal) ? '"' : '\'';
        text.Append(quote);
        foreach (char c in s)
        {
            if (c == quote || c == '\\') text.Append('\\').Append(c);
            else if (c == '\n') text.Append("\\n");
            else if (c == '\r') text.Append("\\r");
            else if (c == '\t') text.Append("\\t");
            else if (c < 0x20 || c is >= '\x7F' and < '\xA0' or '\xAD') text.Append(CultureInfo.InvariantCulture, $"\\x{(int)c:x2}");
            else text.Append(c);
        }
        text.Append(quote);
    }

    /// <summary>repr(float): the shortest digits that give the number back, with an exponent outside 1e-4 .. 1e16.</summary>
    public static string Float(double d)
    {
        if (double.IsNaN(d)) return "nan";
        if (double.IsInfinity(d)) return d > 0 ? "inf" : "-inf";
        string text = d.ToString("R", CultureInfo.InvariantCulture);
        if (text.Contains('E', StringComparison.Ordinal)) return text.Replace('E', 'e');
        if (text.Contains('.', StringComparison.Ordinal)) return text;
        if (Math.Abs(d) < 1e16) return text + ".0";
        // .NET writes some large whole numbers out.
        string digits = text.TrimStart('-'), fraction = digits[1..].TrimEnd('0');
        return string.Create(CultureInfo.InvariantCulture,
            $"{(d < 0 ? "-" : "")}{digits[0]}{(fraction.Length > 0 ? "." : "")}{fraction}e+{digits.Length - 1:00}");
    }

    /// <summary>json.dumps(value): ", " and ": " between, or one entry a line with <paramref name="indent"/> blanks a level.</summary>
    public static string Json(object? value, int? indent, bool ascii, bool sortKeys, (string Item, string Key)? separators, Budget budget)
    {
        StringBuilder text = new();
        (string item, string key) = separators ?? (indent is null ? ", " : ",", ": ");
        Write(value, 0);
        return text.ToString();

        void Write(object? v, int level)
        {
            Guard(budget);
            if (text.Length > Budget.TextMax) throw budget.Error($"makes a text of more than {Budget.TextMax} characters");
            switch (v)
            {
                case null: text.Append("null"); break;
                case bool b: text.Append(b ? "true" : "false"); break;
                case long n: text.Append(n.ToString(CultureInfo.InvariantCulture)); break;
                case double d: text.Append(double.IsNaN(d) ? "NaN" : double.IsInfinity(d) ? d > 0 ? "Infinity" : "-Infinity" : Float(d)); break;
                case string s:
                    budget.ChargeText(s.Length);
                    WriteString(s);
                    break;
                case Sequence list:
                    text.Append('[');
                    for (int i = 0; i < list.Items.Count; i++)
                    {
                        Between(i, level);
                        Write(list.Items[i], level + 1);
                    }
                    Close(']', list.Items.Count, level);
                    break;
                case Mapping map:
                    var entries = map.Entries.Select(e => (Name: e.Key switch
                    {
                        string s => s,
                        bool b => b ? "true" : "false",
                        _ => Str(e.Key, budget),
                    }, e.Value));
                    if (sortKeys) entries = entries.OrderBy(e => e.Name, StringComparer.Ordinal);
                    text.Append('{');
                    int at = 0;
                    foreach ((string name, object? entry) in entries)
                    {
                        Between(at++, level);
                        budget.ChargeText(name.Length);
                        WriteString(name);
                        text.Append(key);
                        Write(entry, level + 1);
                    }
                    Close('}', map.Entries.Count, level);
                    break;
                default:
                    throw budget.Error($"tojson: {TypeName(v)} has no JSON form");
            }
        }

        void Between(int index, int level)
        {
            if (index > 0) text.Append(item);
            NewLine(level + 1);
        }

        void Close(char bracket, int count, int level)
        {
            if (count > 0) NewLine(level);
            text.Append(bracket);
        }

        void NewLine(int level)
        {
            if (indent is not { } width) return;
            budget.ChargeText((long)width * level);
            text.Append('\n').Append(' ', width * level);
        }

        void WriteString(string s)
        {
            text.Append('"');
            foreach (char c in s)
            {
                switch (c)
                {
                    case '"': text.Append("\\\""); break;
                    case '\\': text.Append("\\\\"); break;
                    case '\n': text.Append("\\n"); break;
                    case '\r': text.Append("\\r"); break;
                    case '\t': text.Append("\\t"); break;
                    case '\b': text.Append("\\b"); break;
                    case '\f': text.Append("\\f"); break;
                    default:
                        if (c < 0x20 || (ascii && c > 0x7E)) text.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}");
                        else text.Append(c);
                        break;
                }
            }
            text.Append('"');
        }
    }

    /// <summary>Plain .NET data (also JsonElement) as template values.</summary>
    public static object? From(object? value, int depth = 0)
    {
        if (depth > 64) throw new ChatTemplateException("a variable is nested more than 64 levels deep", 0);
        switch (value)
        {
            case null or bool or long or double or string or Sequence or Mapping: return value;
            case int n: return (long)n;
            case float f: return (double)f;
            case ChatMessage message: return Map([new("role", message.Role), new("content", message.Content)]);
            case JsonElement { ValueKind: JsonValueKind.Null or JsonValueKind.Undefined }: return null;
            case JsonElement { ValueKind: JsonValueKind.True or JsonValueKind.False } e: return e.GetBoolean();
            case JsonElement { ValueKind: JsonValueKind.String } e: return e.GetString();
            case JsonElement { ValueKind: JsonValueKind.Number } e: return e.TryGetInt64(out long i) ? (object)i : e.GetDouble();
            case JsonElement { ValueKind: JsonValueKind.Array } e: return new Sequence([.. e.EnumerateArray().Select(x => From(x, depth + 1))]);
            case JsonElement e: return Map(e.EnumerateObject().Select(p => new KeyValuePair<string, object?>(p.Name, p.Value)));
            case IEnumerable<KeyValuePair<string, object?>> map: return Map(map);
            case System.Collections.IEnumerable list: return new Sequence([.. list.Cast<object?>().Select(x => From(x, depth + 1))]);
            default: throw new ChatTemplateException($"a variable has the type {value.GetType().Name}, which templates do not know", 0);
        }

        Mapping Map(IEnumerable<KeyValuePair<string, object?>> entries)
        {
            Mapping map = new();
            foreach ((string key, object? item) in entries) map.Entries[key] = From(item, depth + 1);
            return map;
        }
    }

    static void Guard(Budget budget)
    {
        budget.Charge(1);
        if (!RuntimeHelpers.TryEnsureSufficientExecutionStack()) throw budget.Error("a value is nested too deeply");
    }
}
