namespace LongCtx.Api.Json;

/// <summary>One page of a listing, in OpenAI's shape.</summary>
internal sealed record ListBody<T>(string Object, IReadOnlyList<T> Data, string? FirstId, string? LastId, bool HasMore)
{
    /// <param name="found">One more than the limit when there are more.</param>
    public static ListBody<T> From(IReadOnlyList<T> found, int limit, Func<T, string> id) => Page([.. found.Take(limit)], found.Count > limit, id);

    public static ListBody<T> Page(IReadOnlyList<T> data, bool hasMore, Func<T, string> id) =>
        new("list", data, data.Count == 0 ? null : id(data[0]), data.Count == 0 ? null : id(data[^1]), hasMore);
}

/// <summary>Answer to a deletion.</summary>
internal sealed record DeletedBody(string Id, string Object, bool Deleted = true);
