namespace LongCtx.Api.Routing;

/// <summary>One thing that a path does.</summary>
/// <param name="Method">GET also answers HEAD.</param>
internal sealed record Operation(string Method, string Path, RequestDelegate Endpoint)
{
    /// <summary>Whether it is answered without an API key although there are keys.</summary>
    public bool IsOpen { get; init; }
}
