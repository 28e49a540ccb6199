using System.Globalization;
using System.Text;

namespace LongCtx.Engine.Templates;

internal sealed partial class Interpreter
{
    object? ApplyFilter(string name, object? value, Passed a)
    {
        switch (name)
        {
            case "trim":
                return Strip(Charged(Values.Str(value, _budget)), Optional(a, 0, "chars"), true, true);
            case "upper":
                return Charged(Values.Str(value, _budget)).ToUpperInvariant();
            case "lower":
                return Charged(Values.Str(value, _budget)).ToLowerInvariant();
            case "capitalize":
                return Capitalized(Charged(Values.Str(value, _budget)));
            case "title":
                return Title(Charged(Values.Str(value, _budget)), c => Values.IsSpace(c) || c is '-' or '(' or '{' or '[' or '<');
            case "safe" or "string":
                return Charged(Values.Str(value, _budget));
            case "escape" or "e":
                return Escaped(Charged(Values.Str(value, _budget)));
            case "replace":
                return Replaced(Charged(Values.Str(value, _budget)), Text(a, 0, "old"), Text(a, 1, "new"), Optional(a, 2, "count"));
            case "length" or "count":
                return LengthOf(value);
            case "default" or "d":
                bool use = value is Undefined || (Values.IsTrue(Optional(a, 1, "boolean")) && !Values.IsTrue(value));
                return !use ? value : a.TryGet(0, "default_value", out object? otherwise) ? otherwise : "";
            case "tojson":
                return ToJson(value, a);
            case "join":
                return Join(Projected(Iterate(value), Optional(a, 1, "attribute")), a.TryGet(0, "d", out object? d) ? Values.Str(d, _budget) : "");
            case "first":
                return Iterate(value) is [var head, ..] ? head : new Undefined("the first of nothing");
            case "last":
                return Iterate(value) is [.., var tail] ? tail : new Undefined("the last of nothing");
            case "list":
                return new Sequence(Iterate(value));
            case "reverse":
                List<object?> reversed = Iterate(value);
                reversed.Reverse();
                return value is string ? Join(reversed, "") : new Sequence(reversed);
            case "map":
                return Map(value, a);
            case "select" or "reject":
                return new Sequence(Iterate(value).FindAll(item => Passes(item, a, 0) == (name == "select")));
            case "selectattr" or "rejectattr":
                return new Sequence(Iterate(value).FindAll(item => Passes(Attribute(item, Required(a, 0, "attribute")), a, 1) == (name == "selectattr")));
            case "sort":
                return new Sequence(Sorted(Iterate(value), Optional(a, 2, "attribute"), Values.IsTrue(Optional(a, 1, "case_sensitive")), Values.IsTrue(Optional(a, 0, "reverse"))));
            case "unique":
                return Unique(value, Optional(a, 1, "attribute"), Values.IsTrue(Optional(a, 0, "case_sensitive")));
            case "min" or "max":
                List<object?> sorted = Sorted(Iterate(value), Optional(a, 1, "attribute"), Values.IsTrue(Optional(a, 0, "case_sensitive")), name == "max");
                return sorted.Count > 0 ? sorted[0] : new Undefined("the largest or smallest of nothing");
            case "sum":
                object? total = a.TryGet(1, "start", out object? start) ? start : 0L;
                foreach (object? item in Projected(Iterate(value), Optional(a, 0, "attribute"))) total = Calculate("+", total, item);
                return total;
            case "items":
                return value is Undefined ? new Sequence([]) : Items(value as Mapping ?? throw Misfit(name, value));
            case "dictsort":
                return DictSort(value as Mapping ?? throw Misfit(name, value), a);
            case "int":
                return ToInt(value, a);
            case "float":
                return Values.Number(value) is { } number ? Convert.ToDouble(number, CultureInfo.InvariantCulture)
                    : value is string text && double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double parsed) ? parsed
                    : a.TryGet(0, "default", out object? noFloat) ? noFloat : 0.0;
            case "abs":
                return Values.Number(value) switch
                {
                    long n when n != long.MinValue => (object)Math.Abs(n),
                    double x => Math.Abs(x),
                    _ => throw Misfit(name, value),
                };
            case "round":
                return Rounded(value, a);
            case "indent":
                return Indented(Values.Str(value, _budget), a);
            case "wordcount":
                return (long)Charged(Values.Str(value, _budget)).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries).Length;
            case "attr":
                // Unlike a member, never an entry of a mapping.
                return value is Mapping map ? MappingMethod(map, Text(a, 0, "name")) ?? Missing(value, Text(a, 0, "name")) : MemberOf(value, Text(a, 0, "name"));
            default:
                throw _budget.Error($"filter '{name}' is not supported");
        }
    }

    ChatTemplateException Misfit(string filter, object? value) =>
        _budget.Error(value is Undefined undefined ? undefined.What : $"filter '{filter}' does not work on {Values.TypeName(value)}");

    static object? Optional(Passed a, int index, string name) => a.TryGet(index, name, out object? value) ? value : null;

    object? Required(Passed a, int index, string name) =>
        a.TryGet(index, name, out object? value) ? value : throw _budget.Error($"argument {index + 1} ('{name}') is missing");

    string Text(Passed a, int index, string name) => Required(a, index, name) is string text ? text
        : throw _budget.Error($"argument {index + 1} ('{name}') must be a string");

    string Charged(string text)
    {
        _budget.ChargeText(text.Length);
        return text;
    }

    static string Strip(string text, object? characters, bool left, bool right)
    {
        int start = 0, end = text.Length;
        if (left) while (start < end && Goes(text[start])) start++;
        if (right) while (end > start && Goes(text[end - 1])) end--;
        return text[start..end];

        bool Goes(char c) => characters is string set ? set.Contains(c, StringComparison.Ordinal) : Values.IsSpace(c);
    }

    static string Capitalized(string text) => text.Length == 0 ? text : text[..1].ToUpperInvariant() + text[1..].ToLowerInvariant();

    /// <summary>Upper case behind a separator, lower case elsewhere.</summary>
    static string Title(string text, Func<char, bool> separates)
    {
        StringBuilder result = new(text.Length);
        bool begins = true;
        foreach (char c in text)
        {
            result.Append(begins ? char.ToUpperInvariant(c) : char.ToLowerInvariant(c));
            begins = separates(c);
        }
        return result.ToString();
    }

    static string Escaped(string text) => text.Replace("&", "&amp;", StringComparison.Ordinal).Replace("<", "&lt;", StringComparison.Ordinal)
        .Replace(">", "&gt;", StringComparison.Ordinal).Replace("'", "&#39;", StringComparison.Ordinal).Replace("\"", "&#34;", StringComparison.Ordinal);

    string Replaced(string text, string from, string to, object? count)
    {
        long left = count is null ? long.MaxValue : Values.Number(count) is long n ? n < 0 ? long.MaxValue : n : throw _budget.Error("a count must be a number");
        List<string> pieces = [];
        int start = 0;
        while (left-- > 0)
        {
            // An empty pattern stands before every character and at the end.
            int hit = from.Length > 0 ? text.IndexOf(from, start, StringComparison.Ordinal) : pieces.Count == 0 ? 0 : start < text.Length ? NextCharacter(start) : -1;
            if (hit < 0) break;
            pieces.Add(text[start..hit]);
            start = hit + from.Length;
        }
        if (pieces.Count == 0) return text;
        pieces.Add(text[start..]);
        _budget.ChargeText(text.Length + (long)(pieces.Count - 1) * to.Length);
        _budget.Charge(pieces.Count);
        return string.Join(to, pieces);

        int NextCharacter(int i) => i + (char.IsHighSurrogate(text[i]) && i + 1 < text.Length ? 2 : 1);
    }

    long LengthOf(object? value) => value switch
    {
        string text => CharacterCount(Charged(text)),
        Sequence list => list.Items.Count,
        Mapping map => map.Entries.Count,
        Undefined => 0,
        _ => throw Misfit("length", value),
    };

    string ToJson(object? value, Passed a)
    {
        int? indent = Optional(a, 1, "indent") is { } width ? Values.Number(width) is long n and >= 0 and <= 16 ? (int)n : throw _budget.Error("tojson: indent must be 0 to 16") : null;
        // In transformers the first argument is ensure_ascii; Jinja's own tojson has indent there.
        bool ascii = a.Positional.Count > 0 && a.Positional[0] is bool b ? b : Values.IsTrue(Optional(a, 9, "ensure_ascii"));
        if (a.Positional.Count > 0 && a.Positional[0] is long first and >= 0 and <= 16) indent = (int)first;
        (string, string)? separators = Optional(a, 2, "separators") is Sequence { Items: [string item, string key] } ? (item, key) : null;
        return Values.Json(value, indent, ascii, Values.IsTrue(Optional(a, 3, "sort_keys")), separators, _budget);
    }

    string Join(List<object?> items, string between)
    {
        StringBuilder text = new();
        for (int i = 0; i < items.Count; i++)
        {
            string item = Values.Str(items[i], _budget);
            _budget.ChargeText(Math.Max(item.Length, (long)text.Length + item.Length + between.Length > Budget.TextMax ? long.MaxValue / 2 : 0));
            if (i > 0) text.Append(between);
            text.Append(item);
        }
        return text.ToString();
    }

    /// <summary>A member by its name, also "a.b" and list indices.</summary>
    object? Attribute(object? item, object? path)
    {
        if (Values.Number(path) is long index) return ItemOf(item, index);
        foreach (string part in (path as string ?? throw _budget.Error("an attribute must be a name")).Split('.'))
            item = long.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out long i) ? ItemOf(item, i) : ItemOf(item, part);
        return item;
    }

    List<object?> Projected(List<object?> items, object? attribute) => attribute is null ? items : items.ConvertAll(item => Attribute(item, attribute));

    Sequence Map(object? value, Passed a)
    {
        List<object?> items = Iterate(value);
        if (a.Named.TryGetValue("attribute", out object? attribute))
        {
            bool hasDefault = a.Named.TryGetValue("default", out object? otherwise);
            return new Sequence(items.ConvertAll(item => Attribute(item, attribute) is var found && found is Undefined && hasDefault ? otherwise : found));
        }
        string filter = Text(a, 0, "filter");
        Passed rest = new([.. a.Positional.Skip(1)], a.Named);
        return new Sequence(items.ConvertAll(item =>
        {
            _budget.Charge(1);
            return ApplyFilter(filter, item, rest);
        }));
    }

    /// <summary>Whether a value passes the test named at <paramref name="at"/>; without one, whether it is true.</summary>
    bool Passes(object? value, Passed a, int at)
    {
        _budget.Charge(1);
        return a.Positional.Count <= at ? Values.IsTrue(value) : ApplyTest(Text(a, at, "test"), value, new Passed([.. a.Positional.Skip(at + 1)], a.Named));
    }

    object? CaseFolded(object? key, bool caseSensitive) => !caseSensitive && key is string text ? Charged(text).ToLowerInvariant() : key;

    List<object?> Sorted(List<object?> items, object? attribute, bool caseSensitive, bool descending)
    {
        object?[] keys = [.. items.Select(item => CaseFolded(attribute is null ? item : Attribute(item, attribute), caseSensitive))];
        Comparer<object?> comparer = Comparer<object?>.Create((x, y) => descending ? Values.Compare(y, x, _budget) : Values.Compare(x, y, _budget));
        try
        {
            return [.. Enumerable.Range(0, items.Count).OrderBy(i => keys[i], comparer).Select(i => items[i])];
        }
        catch (InvalidOperationException e) when (e.InnerException is ChatTemplateException inner)
        {
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(inner);
            throw;
        }
    }

    Sequence Unique(object? value, object? attribute, bool caseSensitive)
    {
        (List<object?> result, List<object?> seen) = ([], []);
        foreach (object? item in Iterate(value))
        {
            object? key = CaseFolded(attribute is null ? item : Attribute(item, attribute), caseSensitive);
            if (seen.Exists(s => Values.Equals(s, key, _budget))) continue;
            seen.Add(key);
            result.Add(item);
        }
        return new Sequence(result);
    }

    Sequence Items(Mapping map)
    {
        _budget.Charge(map.Entries.Count);
        return new Sequence([.. map.Entries.Select(e => (object?)new Sequence([e.Key, e.Value], tuple: true))]);
    }

    Sequence DictSort(Mapping map, Passed a)
    {
        bool byValue = Optional(a, 1, "by") is "value";
        List<object?> items = [.. Items(map).Items];
        return new Sequence(Sorted(items, byValue ? 1L : 0L, Values.IsTrue(Optional(a, 0, "case_sensitive")), Values.IsTrue(Optional(a, 2, "reverse"))));
    }

    static object? ToInt(object? value, Passed a)
    {
        int numberBase = Optional(a, 1, "base") is long b ? (int)b : 10;
        switch (value)
        {
            case bool or long:
                return Values.Number(value);
            case double d when Math.Abs(d) < 9e18:
                return (long)d;
            case string text:
                string digits = text.Trim().Replace("_", "", StringComparison.Ordinal);
                if (numberBase == 16 && digits.StartsWith("0x", StringComparison.OrdinalIgnoreCase)) digits = digits[2..];
                if (numberBase == 16 && long.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out long hex)) return hex;
                if (numberBase == 10 && long.TryParse(digits, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long n)) return n;
                if (numberBase == 10 && double.TryParse(digits, NumberStyles.Float, CultureInfo.InvariantCulture, out double f) && Math.Abs(f) < 9e18) return (long)f;
                break;
        }
        return a.TryGet(0, "default", out object? otherwise) ? otherwise : 0L;
    }

    object Rounded(object? value, Passed a)
    {
        if (Values.Number(value) is not { } number) throw Misfit("round", value);
        long precision = Optional(a, 0, "precision") is { } p ? Values.Number(p) as long? ?? throw _budget.Error("round: precision must be a whole number") : 0;
        if (precision is < 0 or > 15) throw _budget.Error("round: precision must be 0 to 15");
        string method = Optional(a, 1, "method") as string ?? "common";
        double x = Convert.ToDouble(number, CultureInfo.InvariantCulture), scale = Math.Pow(10, precision);
        return method switch
        {
            "common" => number is long n ? (object)n : Math.Round(x, (int)precision, MidpointRounding.ToEven),
            "ceil" => Math.Ceiling(x * scale) / scale,
            "floor" => Math.Floor(x * scale) / scale,
            _ => throw _budget.Error($"round: method '{method}' is not known"),
        };
    }

    string Indented(string text, Passed a)
    {
        object? width = Optional(a, 0, "width");
        string indent = width is string given ? given : new string(' ', (int)Math.Clamp(Values.Number(width) as long? ?? 4, 0, 1000));
        bool first = Values.IsTrue(Optional(a, 1, "first")), blank = Values.IsTrue(Optional(a, 2, "blank"));
        string[] lines = Charged(text).Split('\n');
        _budget.ChargeText(text.Length + (long)lines.Length * indent.Length);
        for (int i = first ? 0 : 1; i < lines.Length; i++)
            if (blank || lines[i].Length > 0) lines[i] = indent + lines[i];
        return string.Join('\n', lines);
    }
}
