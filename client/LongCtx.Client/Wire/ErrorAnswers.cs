using System.Net;
using System.Text.Json;

namespace LongCtx.Client.Wire;

/// <summary>Answers that are errors, back to what the server threw.</summary>
internal static class ErrorAnswers
{
    static readonly Dictionary<string, ErrorCode> Codes = new(StringComparer.Ordinal)
    {
        ["unsupported_parameter"] = ErrorCode.UnsupportedParameter,
        ["context_length_exceeded"] = ErrorCode.ContextLengthExceeded,
        ["model_not_found"] = ErrorCode.ModelNotFound,
        ["queue_full"] = ErrorCode.QueueFull,
        ["shutting_down"] = ErrorCode.ShuttingDown,
        ["invalid_api_key"] = ErrorCode.Unauthorized,
        ["not_found"] = ErrorCode.NotFound,
        ["deleted"] = ErrorCode.Deleted,
        ["turn_in_progress"] = ErrorCode.TurnInProgress,
        ["conflict"] = ErrorCode.Conflict,
        ["limit_reached"] = ErrorCode.LimitReached,
        ["store_unavailable"] = ErrorCode.StoreUnavailable,
        ["engine_failure"] = ErrorCode.EngineFailure,
        ["internal_error"] = ErrorCode.EngineFailure,
    };

    public static async Task<LongCtxException> ReadAsync(HttpResponseMessage response, CancellationToken cancellation)
    {
        ErrorDetails? details = null;
        try
        {
            await using Stream body = await response.Content.ReadAsStreamAsync(cancellation).ConfigureAwait(false);
            details = (await JsonSerializer.DeserializeAsync(body, ClientJson.Default.ErrorAnswer, cancellation).ConfigureAwait(false))?.Error;
        }
        catch (JsonException)
        {
            // Something between us and the server has answered.
        }
        string message = details?.Message ?? $"{response.RequestMessage?.RequestUri?.GetLeftPart(UriPartial.Path)} answered {(int)response.StatusCode} {response.ReasonPhrase}";
        return new(CodeOf(details, response.StatusCode), message, details?.Param) { RetryAfter = response.Headers.RetryAfter?.Delta };
    }

    public static LongCtxException From(ErrorDetails details) => new(CodeOf(details, HttpStatusCode.InternalServerError), details.Message ?? "the server ended the stream", details.Param);

    /// <summary>The code of a turn that failed, as its event names it.</summary>
    public static ErrorCode CodeOf(string code) => Codes.GetValueOrDefault(code, ErrorCode.EngineFailure);

    /// <summary>The same request may succeed a little later.</summary>
    public static bool IsTransient(ErrorCode code) => code is ErrorCode.Unreachable or ErrorCode.QueueFull or ErrorCode.ShuttingDown or ErrorCode.StoreUnavailable;

    static ErrorCode CodeOf(ErrorDetails? details, HttpStatusCode status) =>
        details?.Code is { } code && Codes.TryGetValue(code, out ErrorCode known) ? known : status switch
        {
            HttpStatusCode.BadGateway or HttpStatusCode.ServiceUnavailable or HttpStatusCode.GatewayTimeout => ErrorCode.Unreachable,
            HttpStatusCode.NotFound => ErrorCode.NotFound,
            HttpStatusCode.Gone => ErrorCode.Deleted,
            HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden => ErrorCode.Unauthorized,
            HttpStatusCode.Conflict => ErrorCode.Conflict,
            HttpStatusCode.TooManyRequests => ErrorCode.QueueFull,
            >= HttpStatusCode.InternalServerError => ErrorCode.EngineFailure,
            _ => ErrorCode.InvalidRequest,
        };
}
