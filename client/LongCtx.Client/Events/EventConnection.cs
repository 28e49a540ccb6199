using LongCtx.Client.Wire;

namespace LongCtx.Client.Events;

/// <summary>A server-sent event.</summary>
/// <param name="Name">Kind of the data.</param>
/// <param name="Id">Conversation and sequence number, or the latter alone.</param>
internal sealed record ServerSentEvent(string Name, string Id, string Data);

/// <summary>One connection that carries server-sent events. An event that did not arrive whole is dropped, as the standard says.</summary>
internal sealed class EventConnection : IDisposable
{
    readonly HttpResponseMessage response;
    readonly StreamReader reader;
    readonly TimeSpan silenceMax;
    readonly CancellationTokenSource silent;
    readonly CancellationTokenSource either;

    EventConnection(HttpResponseMessage response, Stream body, LongCtxClientOptions options, CancellationToken cancellation)
    {
        this.response = response;
        reader = new(body);
        silenceMax = options.SilenceMax;
        silent = new(silenceMax, options.Time);
        either = CancellationTokenSource.CreateLinkedTokenSource(silent.Token, cancellation);
    }

    public static async ValueTask<EventConnection> OpenAsync(Transport transport, string path, CancellationToken cancellation)
    {
        HttpResponseMessage opened = await transport.OpenAsync(new(HttpMethod.Get, path) { Headers = { { "Accept", "text/event-stream" } } }, cancellation).ConfigureAwait(false);
        return new(opened, await opened.Content.ReadAsStreamAsync(cancellation).ConfigureAwait(false), transport.Options, cancellation);
    }

    /// <summary>The next event; null when the server has closed the stream.</summary>
    /// <exception cref="OperationCanceledException">The caller's cancellation, or silence.</exception>
    public async ValueTask<ServerSentEvent?> ReadAsync()
    {
        string name = "", id = "";
        string? data = null;
        while (true)
        {
            silent.CancelAfter(silenceMax);
            if (await reader.ReadLineAsync(either.Token).ConfigureAwait(false) is not { } line) return null;
            if (line.Length == 0)
            {
                if (data is not null) return new(name, id, data);
                (name, id) = ("", "");
                continue;
            }
            int colon = line.IndexOf(':', StringComparison.Ordinal);
            if (colon <= 0) continue; // a comment, or a field without a value
            string value = line[(colon + 1)..];
            if (value.StartsWith(' ')) value = value[1..];
            switch (line[..colon])
            {
                case "event":
                    name = value;
                    break;
                case "id":
                    id = value;
                    break;
                case "data":
                    data = data is null ? value : data + "\n" + value;
                    break;
            }
        }
    }

    public void Dispose()
    {
        reader.Dispose();
        response.Dispose();
        either.Dispose();
        silent.Dispose();
    }
}
