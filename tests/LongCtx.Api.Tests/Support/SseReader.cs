using System.Text.Json;

namespace LongCtx.Api.Tests;

/// <summary>Reads a stream of server-sent events line by line, as it was sent.</summary>
internal sealed class SseReader(Stream stream, IDisposable? connection = null) : IDisposable
{
    readonly StreamReader reader = new(stream);

    /// <summary>The next event without its blank line ("data: ...", "event: ...\ndata: ...", ": comment"); null at the end.</summary>
    public async Task<string?> NextAsync()
    {
        List<string> lines = [];
        while (await reader.ReadLineAsync(TestContext.Current.CancellationToken) is { } line)
        {
            if (line.Length == 0) return string.Join('\n', lines);
            lines.Add(line);
        }
        return lines.Count == 0 ? null : throw new InvalidDataException("The stream ended inside an event: " + string.Join('\n', lines));
    }

    public async Task<List<string>> AllAsync()
    {
        List<string> events = [];
        while (await NextAsync() is { } e) events.Add(e);
        return events;
    }

    public static JsonElement Data(string e)
    {
        const string Prefix = "data: ";
        string line = e.Split('\n')[^1];
        Assert.StartsWith(Prefix, line, StringComparison.Ordinal);
        return JsonSerializer.Deserialize<JsonElement>(line[Prefix.Length..]);
    }

    /// <summary>The next event that is neither a comment nor the greeting; null at the end.</summary>
    public async Task<SseEvent?> NextEventAsync()
    {
        while (await NextAsync() is { } text)
        {
            if (text.StartsWith(':') || text.StartsWith("retry:", StringComparison.Ordinal)) continue;
            Dictionary<string, string> fields = text.Split('\n').Select(l => l.Split(": ", 2)).ToDictionary(l => l[0], l => l[1], StringComparer.Ordinal);
            return new(fields.GetValueOrDefault("id"), fields.GetValueOrDefault("event"), JsonSerializer.Deserialize<JsonElement>(fields["data"]));
        }
        return null;
    }

    public async Task<List<SseEvent>> AllEventsAsync()
    {
        List<SseEvent> events = [];
        while (await NextEventAsync() is { } e) events.Add(e);
        return events;
    }

    /// <summary>Also ends the connection, whatever is still to come.</summary>
    public void Dispose()
    {
        reader.Dispose();
        connection?.Dispose();
    }
}

/// <summary>One server-sent event.</summary>
internal sealed record SseEvent(string? Id, string? Name, JsonElement Data);
