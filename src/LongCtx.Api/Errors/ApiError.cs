using LongCtx.Api.Json;

namespace LongCtx.Api;

/// <summary>OpenAI's error object and the status it travels with.</summary>
internal sealed record ApiError(int Status, ErrorBody Body, TimeSpan? RetryAfter = null, string? Allow = null)
{
    /// <summary>The answer to a failure. Only what was written for callers is shown; anything else is named by its request id.</summary>
    public static ApiError From(Exception exception, string requestId) => exception switch
    {
        ApiException e => Create(e.Status, e.Code, e.Message, e.Parameter) with { Allow = e.Allow },
        LongCtxException e => From(e),
        BadHttpRequestException e => Create(e.StatusCode, "invalid_request", e.Message),
        _ => Create(500, "internal_error", $"The server failed; its log has the reason under request {requestId}."),
    };

    public async Task WriteAsync(HttpContext http)
    {
        HttpResponse response = http.Response;
        response.Clear();
        response.StatusCode = Status;
        response.Headers["x-request-id"] = http.TraceIdentifier;
        if (RetryAfter is { } wait) response.Headers.RetryAfter = Math.Max(1, (long)Math.Ceiling(wait.TotalSeconds)).ToString();
        if (Allow is not null) response.Headers.Allow = Allow;
        if (Status == 401) response.Headers.WWWAuthenticate = "Bearer";
        await response.WriteAsJsonAsync(new ErrorEnvelope(Body), ApiJson.Instance.ErrorEnvelope, cancellationToken: http.RequestAborted);
    }

    static ApiError From(LongCtxException e)
    {
        (int status, string code) = e.Code switch
        {
            ErrorCode.InvalidRequest => (400, "invalid_value"),
            ErrorCode.UnsupportedParameter => (400, "unsupported_parameter"),
            ErrorCode.ContextLengthExceeded => (400, "context_length_exceeded"),
            ErrorCode.ModelNotFound => (404, "model_not_found"),
            ErrorCode.QueueFull => (429, "queue_full"),
            ErrorCode.ShuttingDown => (503, "shutting_down"),
            ErrorCode.Unauthorized => (401, "invalid_api_key"),
            ErrorCode.NotFound => (404, "not_found"),
            ErrorCode.Deleted => (410, "deleted"),
            ErrorCode.TurnInProgress => (409, "turn_in_progress"),
            ErrorCode.Conflict => (409, "conflict"),
            ErrorCode.LimitReached => (429, "limit_reached"),
            ErrorCode.StoreUnavailable => (503, "store_unavailable"),
            _ => (500, "engine_failure"),
        };
        TimeSpan? retry = status is 429 or 503 ? e.RetryAfter ?? TimeSpan.FromSeconds(1) : null;
        return Create(status, code, e.Message, e.Parameter) with { RetryAfter = retry };
    }

    static ApiError Create(int status, string code, string message, string? parameter = null)
    {
        string type = status switch
        {
            429 => "rate_limit_error",
            >= 500 => "server_error",
            _ => "invalid_request_error",
        };
        return new(status, new ErrorBody(message, type, parameter, code));
    }
}
