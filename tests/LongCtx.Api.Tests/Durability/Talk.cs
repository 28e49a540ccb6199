using System.Diagnostics;
using System.Net.Http.Json;
using System.Text.Json.Nodes;

namespace LongCtx.Api.Tests;

/// <summary>One conversation of the load: turns are submitted one after another, a subscriber reads all events; both outlive their server.</summary>
/// <param name="idempotencyKey">The same key finds the same conversation.</param>
/// <param name="adapter">How it learns from its own text; null: it does not.</param>
internal sealed class Talk(string idempotencyKey, JsonObject? adapter = null)
{
    /// <summary>What the subscriber saw, in order.</summary>
    public List<JsonNode> Seen { get; } = [];

    /// <summary>Turn ids in order of their acknowledgement.</summary>
    public List<string> Acknowledged { get; } = [];

    public string Id { get; private set; } = "";

    /// <summary>Between two events of a live turn, as the subscriber saw them.</summary>
    public TimeSpan LongestPause { get; private set; }

    long Ended => Seen.Count(e => e["kind"]!.GetValue<string>() is "completed" or "failed" or "cancelled");

    /// <summary>One that nobody acknowledged may be among them.</summary>
    long Accepted => Seen.Count(e => e["kind"]!.GetValue<string>() == "turn_accepted");

    static string Say(int turn) => $"Go on with the {turn}th story, I beg you.";

    /// <summary>Submits turns until there are so many, or the server goes away.</summary>
    public async Task RunAsync(HttpClient client, int turnsMax, CancellationToken cancellation)
    {
        try
        {
            var creation = new JsonObject { ["metadata"] = new JsonObject() };
            if (adapter is not null) creation["adapter"] = adapter.DeepClone();
            Id = (await PostAsync(client, "/v1/conversations", creation, idempotencyKey, cancellation))["id"]!.GetValue<string>();
            using var stream = new StreamReader(await client.GetStreamAsync($"/v1/conversations/{Id}/events?after={Seen.Count}", cancellation));
            while (true)
            {
                while (Ended < Math.Max(Acknowledged.Count, Accepted)) await ReadAsync(stream, cancellation);
                if (Acknowledged.Count >= turnsMax) return;
                string turn = $"turn-{Acknowledged.Count + 1}";
                var body = new JsonObject
                {
                    ["conversation"] = Id, ["input"] = Say(Acknowledged.Count + 1), ["background"] = true, ["temperature"] = 0, ["max_output_tokens"] = 40,
                };
                await PostAsync(client, "/v1/responses", body, turn, cancellation);
                Acknowledged.Add(turn);
            }
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            // Killed: the next server is asked again.
        }
    }

    async Task ReadAsync(StreamReader stream, CancellationToken cancellation)
    {
        long start = Stopwatch.GetTimestamp();
        while (await stream.ReadLineAsync(cancellation) is { } line)
        {
            if (!line.StartsWith("data: ", StringComparison.Ordinal)) continue;
            JsonNode e = JsonNode.Parse(line["data: ".Length..])!;
            if (e["kind"] is null) break; // it says that it ends
            Assert.Equal(Seen.Count + 1, e["seq"]!.GetValue<long>()); // no gap, no duplicate, across all servers
            Seen.Add(e);
            if (Stopwatch.GetElapsedTime(start) is var pause && pause > LongestPause) LongestPause = pause;
            return;
        }

        throw new IOException("the stream ended");
    }

    static async Task<JsonNode> PostAsync(HttpClient client, string path, JsonObject body, string idempotencyKey, CancellationToken cancellation)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = JsonContent.Create(body) };
        request.Headers.Add("Idempotency-Key", idempotencyKey);
        using HttpResponseMessage response = await client.SendAsync(request, cancellation);
        string text = await response.Content.ReadAsStringAsync(cancellation);
        Assert.True(response.IsSuccessStatusCode, text);
        return JsonNode.Parse(text)!;
    }

    /// <summary>The text of each turn, and a check that each has exactly one end.</summary>
    public string[] Texts()
    {
        var texts = new SortedDictionary<int, string>();
        var ended = new HashSet<int>();
        foreach (JsonNode e in Seen)
        {
            string kind = e["kind"]!.GetValue<string>();
            int turn = e["turn"]!.GetValue<int>();
            if (kind == "turn_accepted") Assert.True(texts.TryAdd(turn, ""));
            if (kind is "delta" or "completed") texts[turn] += e["text"]!.GetValue<string>();
            if (kind is "completed" or "failed" or "cancelled") Assert.True(ended.Add(turn), $"turn {turn} of {Id} ended twice");
            Assert.NotEqual("failed", kind);
        }

        Assert.Equal(texts.Keys, ended.Order());
        return [.. texts.Values];
    }
}
