namespace LongCtx.Api.Json;

/// <summary>One page of a listing, in OpenAI's shape.</summary>
internal sealed record ListBody<T>(string Object, IReadOnlyList<T> Data, string? FirstId, string? LastId, bool HasMore)
{
    /// <param name="found">One more than the limit when there are more.</param>
    public static ListBody<T> From(IReadOnlyList<T> found, int limit, Func<T, string> id)
    {
        T[] data = [.. found.Take(limit)];
        return new("list", data, data.Length == 0 ? null : id(data[0]), data.Length == 0 ? null : id(data[^1]), found.Count > limit);
    }
}

/// <summary>Answer to a deletion.</summary>
internal sealed record DeletedBody(string Id, string Object, bool Deleted = true);
