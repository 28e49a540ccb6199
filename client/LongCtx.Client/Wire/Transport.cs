using System.Net.Http.Headers;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace LongCtx.Client.Wire;

/// <summary>Sends requests that may be sent again: each is idempotent by its nature or by its key.</summary>
internal sealed class Transport(HttpClient http, LongCtxClientOptions options)
{
    const string IdempotencyKey = "Idempotency-Key";

    public LongCtxClientOptions Options { get; } = options;

    public async ValueTask<TAnswer> GetAsync<TAnswer>(string path, JsonTypeInfo<TAnswer> answer, CancellationToken cancellation) =>
        await SendAsync(() => new(HttpMethod.Get, path), answer, cancellation).ConfigureAwait(false);

    /// <summary>An answer that is no JSON.</summary>
    public async ValueTask<TAnswer> GetAsync<TAnswer>(string path, Func<HttpResponseMessage, CancellationToken, ValueTask<TAnswer>> read, CancellationToken cancellation) =>
        await SendAsync(() => new(HttpMethod.Get, path), read, cancellation).ConfigureAwait(false);

    /// <summary>Deletes what may be deleted any number of times.</summary>
    public async ValueTask<TAnswer> DeleteAsync<TAnswer>(string path, JsonTypeInfo<TAnswer> answer, CancellationToken cancellation) =>
        await SendAsync(() => new(HttpMethod.Delete, path), answer, cancellation).ConfigureAwait(false);

    /// <param name="path">Below the server's address.</param>
    /// <param name="body">Of the request.</param>
    /// <param name="type">Of the body.</param>
    /// <param name="answer">Of the answer.</param>
    /// <param name="key">Makes the request idempotent where it is not so by itself.</param>
    public async ValueTask<TAnswer> PostAsync<TBody, TAnswer>(
        string path, TBody body, JsonTypeInfo<TBody> type, JsonTypeInfo<TAnswer> answer, string? key, CancellationToken cancellation)
    {
        byte[] json = JsonSerializer.SerializeToUtf8Bytes(body, type);
        return await SendAsync(() =>
        {
            HttpRequestMessage request = new(HttpMethod.Post, path) { Content = new ByteArrayContent(json) { Headers = { ContentType = new MediaTypeHeaderValue("application/json") } } };
            if (key is not null) request.Headers.Add(IdempotencyKey, key);
            return request;
        }, answer, cancellation).ConfigureAwait(false);
    }

    /// <summary>A repetition that finds it deleted has succeeded: the answer of an attempt before was lost.</summary>
    public async ValueTask DeleteAsync(string path, CancellationToken cancellation)
    {
        Backoff backoff = new(Options, Options.RetryFor);
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                using HttpResponseMessage response = await OpenAsync(new(HttpMethod.Delete, path), cancellation).ConfigureAwait(false);
                return;
            }
            catch (LongCtxException e) when (ErrorAnswers.IsTransient(e.Code))
            {
                await backoff.WaitAsync(e, cancellation).ConfigureAwait(false);
            }
            catch (LongCtxException e) when (e.Code == ErrorCode.Deleted && attempt > 1)
            {
                return;
            }
        }
    }

    /// <summary>One attempt. The answer is returned as soon as its head is there.</summary>
    /// <exception cref="LongCtxException">The server cannot be reached, or refuses.</exception>
    public async ValueTask<HttpResponseMessage> OpenAsync(HttpRequestMessage request, CancellationToken cancellation)
    {
        try
        {
            HttpResponseMessage response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellation).ConfigureAwait(false);
            if (response.IsSuccessStatusCode) return response;
            using (response) throw await ErrorAnswers.ReadAsync(response, cancellation).ConfigureAwait(false);
        }
        catch (Exception e) when (IsLost(e, cancellation))
        {
            throw Lost(e);
        }
    }

    /// <summary>The connection failed, and not because the caller left.</summary>
    public static bool IsLost(Exception e, CancellationToken cancellation) =>
        e is HttpRequestException or IOException || (e is OperationCanceledException && !cancellation.IsCancellationRequested);

    public LongCtxException Lost(Exception e) => new(ErrorCode.Unreachable,
        $"{http.BaseAddress} cannot be reached: {(e is OperationCanceledException ? "it did not answer in time" : e.GetBaseException().Message)}. Is the server running there?", inner: e);

    ValueTask<TAnswer> SendAsync<TAnswer>(Func<HttpRequestMessage> build, JsonTypeInfo<TAnswer> type, CancellationToken cancellation) =>
        SendAsync(build, (response, stop) => ReadAsync(response, type, stop), cancellation);

    async ValueTask<TAnswer> SendAsync<TAnswer>(
        Func<HttpRequestMessage> build, Func<HttpResponseMessage, CancellationToken, ValueTask<TAnswer>> read, CancellationToken cancellation)
    {
        Backoff backoff = new(Options, Options.RetryFor);
        while (true)
        {
            try
            {
                using HttpRequestMessage request = build();
                using HttpResponseMessage response = await OpenAsync(request, cancellation).ConfigureAwait(false);
                return await read(response, cancellation).ConfigureAwait(false);
            }
            catch (Exception e) when (IsLost(e, cancellation))
            {
                await backoff.WaitAsync(Lost(e), cancellation).ConfigureAwait(false);
            }
            catch (LongCtxException e) when (ErrorAnswers.IsTransient(e.Code))
            {
                await backoff.WaitAsync(e, cancellation).ConfigureAwait(false);
            }
        }
    }

    public async ValueTask<TAnswer> ReadAsync<TAnswer>(HttpResponseMessage response, JsonTypeInfo<TAnswer> type, CancellationToken cancellation)
    {
        try
        {
            byte[] json = await response.Content.ReadAsByteArrayAsync(cancellation).ConfigureAwait(false);
            return JsonSerializer.Deserialize(json, type) ?? throw new JsonException("the answer is null");
        }
        catch (Exception e) when (IsLost(e, cancellation))
        {
            throw Lost(e);
        }
        catch (JsonException e)
        {
            throw new LongCtxException(ErrorCode.EngineFailure, $"the answer of {http.BaseAddress} cannot be read: {e.Message} Is it a LongCtx server of this version?", inner: e);
        }
    }
}
