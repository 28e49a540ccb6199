using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace LongCtx.Api.Streaming;

/// <summary>Writes server-sent events, each flushed at once.</summary>
internal sealed class SseWriter(HttpResponse response)
{
    public bool HasStarted { get; private set; }

    public async ValueTask WriteAsync<T>(T value, JsonTypeInfo<T> type, CancellationToken cancellation, string? name = null, string? id = null)
    {
        Start();
        if (id is not null) Append($"id: {id}\n");
        if (name is not null) Append($"event: {name}\n");
        Append("data: ");
        using (Utf8JsonWriter json = new(response.BodyWriter, new JsonWriterOptions { Encoder = type.Options.Encoder }))
            JsonSerializer.Serialize(json, value, type);
        Append("\n\n");
        await response.BodyWriter.FlushAsync(cancellation);
    }

    public ValueTask DoneAsync(CancellationToken cancellation) => RawAsync("data: [DONE]\n\n", cancellation);

    public ValueTask CommentAsync(string text, CancellationToken cancellation) => RawAsync($": {text}\n\n", cancellation);

    /// <summary>Opens the stream at once; a client that loses it should come back after two seconds.</summary>
    public ValueTask OpenAsync(CancellationToken cancellation) => RawAsync("retry: 2000\n\n", cancellation);

    async ValueTask RawAsync(string text, CancellationToken cancellation)
    {
        Start();
        Append(text);
        await response.BodyWriter.FlushAsync(cancellation);
    }

    void Start()
    {
        if (HasStarted) return;
        HasStarted = true;
        response.ContentType = "text/event-stream; charset=utf-8";
        response.Headers.CacheControl = "no-cache";
        // nginx holds answers back unless told otherwise.
        response.Headers["X-Accel-Buffering"] = "no";
    }

    void Append(string text) => Encoding.UTF8.GetBytes(text, response.BodyWriter);
}
