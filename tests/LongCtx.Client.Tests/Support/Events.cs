using System.Text.Json;

namespace LongCtx.Client.Tests;

internal static class Events
{
    static readonly JsonSerializerOptions Json = new() { WriteIndented = false };

    /// <summary>All that tells events apart, lists included.</summary>
    public static string Text(this ConversationEvent e) => $"{e.Conversation} {e.GetType().Name} {JsonSerializer.Serialize<object>(e, Json)}";

    /// <summary>Reads up to the n-th end of a turn.</summary>
    public static async Task<List<ConversationEvent>> UntilAsync(this IAsyncEnumerable<ConversationEvent> events, int ends)
    {
        List<ConversationEvent> read = [];
        await foreach (ConversationEvent e in events.WithCancellation(TestContext.Current.CancellationToken))
        {
            read.Add(e);
            if (e is Completed or Cancelled or Failed && --ends == 0) break;
        }
        return read;
    }

    public static string Reply(this IEnumerable<ConversationEvent> events) => string.Concat(events.Select(e => e switch
    {
        Delta delta => delta.Text,
        Completed completed => completed.Text,
        Cancelled cancelled => cancelled.Text,
        _ => "",
    }));
}
