namespace LongCtx.Api.Routing;

/// <summary>The Idempotency-Key header: the same key means the same request, sent again.</summary>
internal static class IdempotencyKey
{
    public const string Header = "Idempotency-Key";

    const int LengthMax = 255;

    public static string? Of(HttpRequest request)
    {
        if (!request.Headers.TryGetValue(Header, out Microsoft.Extensions.Primitives.StringValues values)) return null;
        string key = values.ToString();
        return values.Count == 1 && key.Length is > 0 and <= LengthMax && key.All(c => c is >= ' ' and <= '~')
            ? key : throw ApiException.Value(Header, $"1 to {LengthMax} printable ASCII characters", $"'{key}'");
    }
}
