using System.Diagnostics;
using System.Globalization;

namespace LongCtx.Cli.Bench;

/// <summary>One open event stream of a conversation, read line by line; nothing is repaired, as the client library would.</summary>
internal sealed class EventStream : IDisposable
{
    const string Id = "id: ", Kind = "event: ";

    readonly HttpResponseMessage _response;
    readonly StreamReader _reader;
    readonly string _conversation;

    EventStream(HttpResponseMessage response, StreamReader reader, string conversation) => (_response, _reader, _conversation) = (response, reader, conversation);

    /// <summary>Of the newest event that was read.</summary>
    public long Seq { get; private set; }

    /// <summary>Returns when the server has written the stream's beginning.</summary>
    public static async Task<EventStream> OpenAsync(HttpClient http, string conversation, CancellationToken cancellation)
    {
        HttpResponseMessage response = await http.GetAsync($"v1/conversations/{conversation}/events", HttpCompletionOption.ResponseHeadersRead, cancellation);
        response.EnsureSuccessStatusCode();
        return new(response, new(await response.Content.ReadAsStreamAsync(cancellation)), conversation);
    }

    /// <summary>Reads up to the end of a turn.</summary>
    /// <returns>When it was there, as a time stamp of <see cref="Stopwatch"/>.</returns>
    public async Task<long> ReadTurnAsync(CancellationToken cancellation)
    {
        for (string kind = "";;)
        {
            string line = await _reader.ReadLineAsync(cancellation) ?? throw new CheckFailedException($"a stream of {_conversation} ended behind event {Seq}");
            if (line.StartsWith(Id, StringComparison.Ordinal)) Take(line[Id.Length..]);
            else if (line.StartsWith(Kind, StringComparison.Ordinal)) kind = line[Kind.Length..];
            else if (line.Length == 0 && kind == Completed.Kind) return Stopwatch.GetTimestamp();
            else if (line.Length == 0) CheckFailedException.Require(kind is "" or TurnAccepted.Kind or Delta.Kind or Evicted.Kind, $"a stream of {_conversation} told '{kind}' behind event {Seq}");
        }
    }

    void Take(string id)
    {
        CheckFailedException.Require(long.Parse(id, CultureInfo.InvariantCulture) == Seq + 1, $"a stream of {_conversation} got event {id} behind event {Seq}");
        Seq++;
    }

    public void Dispose()
    {
        _reader.Dispose();
        _response.Dispose();
    }
}
