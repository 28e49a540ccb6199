using System.Diagnostics;
using LongCtx.Conversations.Local;
using LongCtx.Engine.Scheduling;
using LongCtx.Storage.Sqlite;

namespace LongCtx.Cli.Bench;

/// <summary>A conversation host over a data directory, laid out as `serve` does it.</summary>
internal sealed class BenchHost : IAsyncDisposable
{
    public const string Tenant = "bench";
    const int PageEvents = 100;

    static readonly TimeSpan WaitMax = TimeSpan.FromSeconds(10);

    BenchHost(LocalConversationHost host, DecoderModel model)
    {
        Host = host;
        Greedy = SamplingOptions.Greedy with { LogitBias = model.StopTokens.ToDictionary(id => id, _ => -100f) };
    }

    public LocalConversationHost Host { get; }

    /// <summary>The most likely token, but never one that ends the reply.</summary>
    public SamplingOptions Greedy { get; }

    public static string KvDirectory(string directory) => Path.Combine(directory, "kv");

    public static async Task<BenchHost> OpenAsync(string model, int threads, string directory, CancellationToken cancellation)
    {
        var engine = new InferenceEngine(new EngineOptions { Threads = threads });
        try
        {
            DecoderModel decoder = await ModelFiles.LoadDecoderAsync(engine, model);
            var store = await SqliteConversationStore.OpenAsync(new() { Directory = directory }, cancellation);
            return new(new(engine, [decoder], [], new(), new() { Store = store, KvDirectory = KvDirectory(directory) }), decoder);
        }
        catch
        {
            await engine.DisposeAsync();
            throw;
        }
    }

    public async Task<string> CreateAsync(CancellationToken cancellation) =>
        (await Host.CreateConversationAsync(Tenant, new(null), cancellation)).Id;

    /// <summary>Runs a turn to its end.</summary>
    /// <returns>Milliseconds from the request to the first token that a reader sees, and the end.</returns>
    public async Task<(double FirstTokenMs, Completed End)> AskAsync(string conversation, ChatMessage message, int tokens, CancellationToken cancellation)
    {
        var turn = new SubmitTurn(Guid.NewGuid().ToString(), [message]) { Options = new() { MaxTokens = tokens, Sampling = Greedy } };
        long start = Stopwatch.GetTimestamp();
        double? first = null;
        long seq = (await Host.SubmitTurnAsync(Tenant, conversation, turn, cancellation)).AcceptedSeq;
        while (true)
        {
            EventPage page = await Host.ReadEventsAsync(Tenant, conversation, seq, PageEvents, WaitMax, cancellation);
            foreach (ConversationEvent e in page.Events)
            {
                CheckFailedException.Require(e.Seq == ++seq, $"event {seq} of {conversation} is missing: {e.Seq} came instead");
                if (e is Delta) first ??= Stopwatch.GetElapsedTime(start).TotalMilliseconds;
                if (e is not (Completed or Failed or Cancelled)) continue;
                CheckFailedException.Require(first is not null && e is Completed, $"the turn of {conversation} ended without a reply: {e}");
                return (first!.Value, (Completed)e);
            }
        }
    }

    public ValueTask DisposeAsync() => Host.DisposeAsync();
}
