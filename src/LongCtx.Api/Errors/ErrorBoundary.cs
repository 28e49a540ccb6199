using Microsoft.Extensions.Logging;

namespace LongCtx.Api;

/// <summary>The one place where a failed request becomes an answer.</summary>
internal sealed partial class ErrorBoundary(ILogger<ErrorBoundary> log)
{
    public RequestDelegate Wrap(RequestDelegate endpoint) => async http =>
    {
        http.Response.Headers["x-request-id"] = http.TraceIdentifier;
        try
        {
            await endpoint(http);
        }
        catch (Exception) when (http.RequestAborted.IsCancellationRequested)
        {
            // The client left: nobody reads an answer, and the cancellation has already stopped the work.
        }
        catch (Exception e)
        {
            ApiError error = Explain(e, http);
            if (http.Response.HasStarted) http.Abort();
            else await error.WriteAsync(http);
        }
    };

    /// <summary>The error object of a failure; what is our mistake goes to the log too.</summary>
    public ApiError Explain(Exception exception, HttpContext http)
    {
        ApiError error = ApiError.From(exception, http.TraceIdentifier);
        if (error.Status == 500) LogFailure(http.Request.Method, http.Request.Path, http.TraceIdentifier, exception);
        return error;
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "{Method} {Path} failed (request {RequestId})")]
    partial void LogFailure(string method, PathString path, string requestId, Exception exception);
}
