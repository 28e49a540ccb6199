using System.Text.Json;
using System.Text.Json.Nodes;

namespace LongCtx.Client.Tests;

/// <summary>An export to which a conversation's learning was added: four chunks, of which one was rejected, and then a reset, so that no weights belong to it.</summary>
public static class LearnedJournal
{
    public const string Reason = "the held-out loss rose from 3.1 to 3.4";

    static readonly JsonSerializerOptions SnakeCase = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    public static IReadOnlyList<AdapterUpdate> Updates { get; } =
    [
        new(0, 256, 1, [3.9, 3.5, 3.2], 3.9, 1.5) { HeldOutBefore = 3.8, HeldOutAfter = 3.6 },
        new(256, 512, 2, [3.6, 3.3, 3.1], 3.8, 1.4) { HeldOutBefore = 3.6, HeldOutAfter = 3.4 },
        new(512, 768, 0, [3.3, 3.1, 3.0], 3.6, 1.4) { HeldOutBefore = 3.1, HeldOutAfter = 3.4, Rejected = Reason },
        new(768, 1024, 3, [3.2, 3.0, 2.8], 3.7, 1.6) { HeldOutBefore = 3.2, HeldOutAfter = 3.1 },
    ];

    /// <summary>The lines of an export with the adapter's events behind the others.</summary>
    public static IEnumerable<string> Learn(IReadOnlyList<string> lines)
    {
        JsonObject header = JsonNode.Parse(lines[0])!.AsObject(), last = JsonNode.Parse(lines[^1])!["event"]!.AsObject();
        long seq = (long)header["events"]!, tokens = (long)last["token_start"]! + (int)last["token_count"]!, at = (long)last["at"]!;
        ConversationEvent[] learned =
        [
            new AdapterConfigured(new() { Rank = 8, StartAfter = 0 }, 0),
            .. Updates.Select(u => u.Rejected is null ? (ConversationEvent)new AdapterUpdated(u.Version, $"d{u.Version}", u.To) { Update = u } : new AdapterRejected(u)),
            new AdapterUpdated(0, "", tokens) { IsRefill = true },
        ];
        header["events"] = seq + learned.Length;
        yield return header.ToJsonString();
        foreach (string line in lines.Skip(1)) yield return line;
        foreach (ConversationEvent e in learned)
            yield return JsonSerializer.Serialize(new { tokens = Array.Empty<int>(), @event = e with { Seq = ++seq, Epoch = 1, At = at, TokenStart = tokens } }, SnakeCase);
    }
}
