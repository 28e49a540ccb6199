namespace LongCtx.Api;

/// <summary>The one place that says whose request it is. There are no API keys yet, so everything belongs to one tenant.</summary>
internal static class Tenants
{
    public const string Default = "default";

    public static string Of(HttpContext http)
    {
        ArgumentNullException.ThrowIfNull(http);
        return Default;
    }
}
