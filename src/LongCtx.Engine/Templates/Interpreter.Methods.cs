using System.Globalization;
using System.Text;

namespace LongCtx.Engine.Templates;

internal sealed partial class Interpreter
{
    void AddGlobals()
    {
        Function("raise_exception", a => throw new ChatTemplateException(Values.Str(Required(a, 0, "message"), _budget), _budget.Line, raised: true));
        Function("range", Range);
        Function("namespace", a =>
        {
            Namespace ns = new();
            if (a.Positional is [Mapping initial, ..]) foreach ((object key, object? value) in initial.Entries) ns.Members[Values.Str(key, _budget)] = value;
            foreach ((string name, object? value) in a.Named) ns.Members[name] = value;
            return ns;
        });
        Function("dict", a =>
        {
            Mapping map = new();
            if (a.Positional is [Mapping initial, ..]) foreach ((object key, object? value) in initial.Entries) map.Entries[key] = value;
            foreach ((string name, object? value) in a.Named) map.Entries[name] = value;
            return map;
        });
        Function("strftime_now", a => Charged(FormatTime(_clock.GetLocalNow(), Text(a, 0, "format"))));

        void Function(string name, Func<Passed, object?> body) => _scope.Set(name, new Callable(name, body));
    }

    object Range(Passed a)
    {
        long[] bounds = [.. a.Positional.Select(v => Values.Number(v) as long? ?? throw _budget.Error("range() needs whole numbers"))];
        (long start, long end, long step) = bounds switch
        {
            [var to] => (0L, to, 1L),
            [var from, var to] => (from, to, 1L),
            [var from, var to, var by] when by != 0 => (from, to, by),
            _ => throw _budget.Error("range() needs one to three numbers, the third not 0"),
        };
        decimal count = Math.Max(0, Math.Ceiling(((decimal)end - start) / step));
        if (count > Budget.RangeMax) throw _budget.Error($"range() of more than {Budget.RangeMax} numbers");
        _budget.Charge((long)count);
        return new Sequence([.. Enumerable.Range(0, (int)count).Select(i => (object?)(start + i * step))]);
    }

    /// <summary>strftime with the C locale's names.</summary>
    string FormatTime(DateTimeOffset time, string format)
    {
        StringBuilder text = new();
        for (int i = 0; i < format.Length; i++)
        {
            if (format[i] != '%' || i + 1 == format.Length)
            {
                text.Append(format[i]);
                continue;
            }
            bool bare = format[++i] == '-' && i + 1 < format.Length;
            if (bare) i++;
            string part = format[i] switch
            {
                'Y' => Of("yyyy"), 'y' => Of("yy"), 'm' => Of("MM"), 'd' => Of("dd"), 'B' => Of("MMMM"), 'b' or 'h' => Of("MMM"),
                'A' => Of("dddd"), 'a' => Of("ddd"), 'H' => Of("HH"), 'I' => Of("hh"), 'M' => Of("mm"), 'S' => Of("ss"), 'p' => Of("tt"),
                'F' => Of("yyyy-MM-dd"), 'T' => Of("HH:mm:ss"), 'D' => Of("MM/dd/yy"), 'z' => Of("zzz").Replace(":", "", StringComparison.Ordinal),
                'j' => time.DayOfYear.ToString("000", CultureInfo.InvariantCulture),
                'e' => time.Day.ToString(CultureInfo.InvariantCulture).PadLeft(2), 'f' => Of("ffffff"), 'Z' => "", '%' => "%",
                _ => throw _budget.Error($"strftime_now: '%{format[i]}' is not supported"),
            };
            text.Append(bare && part.Length > 1 ? part.TrimStart('0') is { Length: > 0 } trimmed ? trimmed : "0" : part);
        }
        return text.ToString();

        string Of(string pattern) => time.ToString(pattern, CultureInfo.InvariantCulture);
    }

    static readonly HashSet<string> Mutators =
        ["append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse", "update", "setdefault", "popitem", "add"];

    Callable? Mutator(string name) => Mutators.Contains(name)
        ? new Callable(name, _ => throw _budget.Error($"'{name}' would change a value; templates may not")) : null;

    Callable? MappingMethod(Mapping map, string name)
    {
        Func<Passed, object?>? body = name switch
        {
            "get" => a => Required(a, 0, "key") is { } key && map.Entries.TryGetValue(Key(key), out object? value) ? value : Optional(a, 1, "default"),
            "items" => _ => Items(map),
            "keys" => _ => new Sequence(Iterate(map)),
            "values" => _ => new Sequence([.. map.Entries.Values]),
            "copy" => _ => map,
            _ => null,
        };
        return body is not null ? new Callable(name, body) : map.Entries.ContainsKey(name) ? null : Mutator(name);
    }

    Callable? SequenceMethod(Sequence list, string name)
    {
        Func<Passed, object?>? body = name switch
        {
            "index" => a => list.Items.ToList().FindIndex(item => Values.Equals(item, Required(a, 0, "value"), _budget)) is >= 0 and int i
                ? (long)i : throw _budget.Error("the value is not in the list"),
            "count" => a => (long)list.Items.Count(item => Values.Equals(item, Required(a, 0, "value"), _budget)),
            "copy" => _ => list,
            _ => null,
        };
        return body is not null ? new Callable(name, body) : Mutator(name);
    }

    Callable? StringMethod(string s, string name)
    {
        Func<Passed, object?>? body = name switch
        {
            "strip" => a => Strip(s, Optional(a, 0, "chars"), true, true),
            "lstrip" => a => Strip(s, Optional(a, 0, "chars"), true, false),
            "rstrip" => a => Strip(s, Optional(a, 0, "chars"), false, true),
            "upper" => _ => s.ToUpperInvariant(),
            "lower" or "casefold" => _ => s.ToLowerInvariant(),
            "title" => _ => Title(s, c => !char.IsLetter(c)),
            "capitalize" => _ => Capitalized(s),
            "replace" => a => Replaced(s, Text(a, 0, "old"), Text(a, 1, "new"), Optional(a, 2, "count")),
            "split" => a => Split(s, Optional(a, 0, "sep"), Optional(a, 1, "maxsplit"), fromRight: false),
            "rsplit" => a => Split(s, Optional(a, 0, "sep"), Optional(a, 1, "maxsplit"), fromRight: true),
            "splitlines" => _ => SplitLines(s),
            "startswith" => a => Any(Required(a, 0, "prefix"), p => s.StartsWith(p, StringComparison.Ordinal)),
            "endswith" => a => Any(Required(a, 0, "suffix"), p => s.EndsWith(p, StringComparison.Ordinal)),
            "removeprefix" => a => Text(a, 0, "prefix") is var p && s.StartsWith(p, StringComparison.Ordinal) ? s[p.Length..] : s,
            "removesuffix" => a => Text(a, 0, "suffix") is var p && s.EndsWith(p, StringComparison.Ordinal) ? s[..^p.Length] : s,
            "find" => a => CharacterIndex(s, s.IndexOf(Text(a, 0, "sub"), StringComparison.Ordinal)),
            "rfind" => a => CharacterIndex(s, s.LastIndexOf(Text(a, 0, "sub"), StringComparison.Ordinal)),
            "index" => a => s.IndexOf(Text(a, 0, "sub"), StringComparison.Ordinal) is >= 0 and int i ? CharacterIndex(s, i) : throw _budget.Error("substring not found"),
            "count" => a => Text(a, 0, "sub") is { Length: > 0 } sub ? (long)s.AsSpan().Count(sub) : CharacterCount(s) + 1,
            "join" => a => Join(Iterate(Required(a, 0, "iterable")), s),
            "isdigit" or "isnumeric" or "isdecimal" => _ => s.Length > 0 && s.All(char.IsDigit),
            "isalpha" => _ => s.Length > 0 && s.All(char.IsLetter),
            "isalnum" => _ => s.Length > 0 && s.All(char.IsLetterOrDigit),
            "isspace" => _ => s.Length > 0 && s.All(Values.IsSpace),
            "isupper" => _ => ApplyTest("upper", s, NoArguments),
            "islower" => _ => ApplyTest("lower", s, NoArguments),
            _ => null,
        };
        return body is null ? null : new Callable(name, a =>
        {
            Charged(s);
            return body(a);
        });
    }

    static long CharacterIndex(string s, int index) => index < 0 ? -1 : CharacterCount(s[..index]);

    bool Any(object? affixes, Func<string, bool> matches) => affixes switch
    {
        string affix => matches(affix),
        Sequence { Tuple: true } several => several.Items.Any(item => item is string affix && matches(affix)),
        _ => throw _budget.Error($"expected a string, not {Values.TypeName(affixes)}"),
    };

    /// <summary>Python's split: without a separator at runs of white space, of which those at the ends go.</summary>
    Sequence Split(string s, object? separator, object? limit, bool fromRight)
    {
        long left = limit is null ? long.MaxValue : Values.Number(limit) is long n ? n < 0 ? long.MaxValue : n : throw _budget.Error("maxsplit must be a whole number");
        if (separator is not (null or string { Length: > 0 })) throw _budget.Error("a separator must be a string that is not empty");
        List<object?> parts = [];
        if (separator is string mark)
        {
            int start = 0, end = s.Length;
            for (; left > 0; left--)
            {
                int hit = fromRight ? end > 0 ? s.LastIndexOf(mark, end - 1, end, StringComparison.Ordinal) : -1 : s.IndexOf(mark, start, StringComparison.Ordinal);
                if (hit < 0) break;
                parts.Add(fromRight ? s[(hit + mark.Length)..end] : s[start..hit]);
                (start, end) = fromRight ? (start, hit) : (hit + mark.Length, end);
            }
            parts.Add(s[start..end]);
        }
        else
        {
            int start = 0, end = s.Length;
            while (true)
            {
                if (fromRight) while (end > start && Values.IsSpace(s[end - 1])) end--;
                else while (start < end && Values.IsSpace(s[start])) start++;
                if (start == end) break;
                int cut = fromRight ? end : start;
                if (left-- > 0)
                {
                    if (fromRight) while (cut > start && !Values.IsSpace(s[cut - 1])) cut--;
                    else while (cut < end && !Values.IsSpace(s[cut])) cut++;
                }
                else cut = fromRight ? start : end;
                parts.Add(fromRight ? s[cut..end] : s[start..cut]);
                (start, end) = fromRight ? (start, cut) : (cut, end);
            }
        }
        if (fromRight) parts.Reverse();
        _budget.Charge(parts.Count);
        return new Sequence(parts);
    }

    Sequence SplitLines(string s)
    {
        List<object?> lines = [.. s.ReplaceLineEndings("\n").Split('\n')];
        if (lines[^1] is "") lines.RemoveAt(lines.Count - 1);
        _budget.Charge(lines.Count);
        return new Sequence(lines);
    }
}
