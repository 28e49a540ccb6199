namespace LongCtx.Api.Routing;

/// <summary>One thing that a path does. The endpoints and the OpenAPI document are made of the same list of these.</summary>
/// <param name="Method">GET also answers HEAD.</param>
internal sealed record Operation(string Method, string Path, RequestDelegate Endpoint)
{
    /// <summary>Whether it is answered without an API key although there are keys.</summary>
    public bool IsOpen { get; init; }

    /// <summary>Its name in the OpenAPI document; null where it is none of the API's.</summary>
    public string? Name { get; init; }

    /// <summary>One sentence.</summary>
    public string Summary { get; init; } = "";

    /// <summary>Shape of the JSON body; null where there is none.</summary>
    public Type? Request { get; init; }

    /// <summary>What is taken besides JSON.</summary>
    public Media[] RequestMedia { get; init; } = [];

    /// <summary>Shape of the JSON answer.</summary>
    public Type? Response { get; init; }

    /// <summary>Answers that are no single JSON value.</summary>
    public Media[] ResponseMedia { get; init; } = [];

    /// <summary>Parameters of the query and the head; those of the path are in <see cref="Path"/>.</summary>
    public Parameter[] Parameters { get; init; } = [];
}

/// <param name="Type">The media type.</param>
/// <param name="Shape">Of the JSON in each line or event; null where it is no JSON.</param>
internal sealed record Media(string Type, Type? Shape = null)
{
    public static Media Events(Type? shape = null) => new("text/event-stream", shape);
}

/// <param name="Type">string, long, bool, or string[] where it may be given several times.</param>
internal sealed record Parameter(string Name, Type Type, string Description)
{
    /// <summary>Whether it is a header.</summary>
    public bool IsHeader { get; init; }

    public static readonly Parameter[] Page =
    [
        new("after", typeof(string), "Id of the last entry of the page before."),
        new("limit", typeof(long), "Most entries of the page: 1 to 100, otherwise 20."),
        new("order", typeof(string), "asc or desc (otherwise)."),
    ];

    public static readonly Parameter IdempotencyKey = new(Routing.IdempotencyKey.Header, typeof(string), "The same key with the same request does it once, and answers alike.") { IsHeader = true };

    public static readonly Parameter LastEventId = new("Last-Event-ID", typeof(string), "Id of the last event that was seen; browsers send it when they reconnect.") { IsHeader = true };
}
