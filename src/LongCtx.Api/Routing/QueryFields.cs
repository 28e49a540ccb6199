using System.Globalization;

namespace LongCtx.Api.Routing;

/// <summary>The query of a request, read as strictly as a body: each parameter once, with its type and range; what is left is refused by name.</summary>
internal sealed class QueryFields
{
    readonly Dictionary<string, string[]> left = new(StringComparer.Ordinal);

    public QueryFields(HttpRequest request)
    {
        foreach ((string name, Microsoft.Extensions.Primitives.StringValues values) in request.Query) left[name] = [.. values.Select(v => v ?? "")];
    }

    public string? Text(string name)
    {
        if (!left.Remove(name, out string[]? values)) return null;
        return values.Length == 1 ? values[0] : throw ApiException.Value(name, "given once", $"{values.Length} times");
    }

    /// <summary>A parameter that may be given several times.</summary>
    public IReadOnlyList<string> All(string name) => left.Remove(name, out string[]? values) ? values : [];

    public long? Integer(string name, long min, long max)
    {
        if (Text(name) is not { } text) return null;
        string expected = max == long.MaxValue ? $"an integer of at least {min}" : $"an integer from {min} to {max}";
        return long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long number) && number >= min && number <= max
            ? number : throw ApiException.Value(name, expected, $"'{text}'");
    }

    public bool? Flag(string name) => Text(name) switch
    {
        null => null,
        "true" => true,
        "false" => false,
        var other => throw ApiException.Value(name, "true or false", $"'{other}'"),
    };

    /// <summary>Which page of a listing: `limit`, `order` and `after`, as OpenAI has them.</summary>
    public PageRequest Page()
    {
        string order = Text("order") ?? "desc";
        if (order is not ("asc" or "desc")) throw ApiException.Value("order", "asc or desc", $"'{order}'");
        return new(Text("after"), (int)(Integer("limit", 1, PageRequest.LimitMax) ?? PageRequest.LimitDefault), order == "desc");
    }

    public void RefuseOthers()
    {
        foreach (string name in left.Keys) throw ApiException.Unknown(name);
    }
}

/// <param name="After">Id of the last entry of the page before; null begins at that end.</param>
internal sealed record PageRequest(string? After, int Limit, bool IsDescending)
{
    public const int LimitMax = 100, LimitDefault = 20;
}
