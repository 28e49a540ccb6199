using System.Diagnostics;
using LongCtx.Client;

namespace LongCtx.Cli.Bench;

/// <summary>Open event streams of a server of its own, while turns run in the conversations that they follow.</summary>
/// <param name="Conversations">Over which the streams are spread; a turn runs in all of them at once.</param>
/// <param name="Events">Of one turn, that its streams got.</param>
/// <param name="OpenMs">Until all streams were open.</param>
/// <param name="FirstEndMs">From the turns' submission until a stream had the last event, the first of all streams.</param>
/// <param name="LastEndMs">Until the last stream had it.</param>
/// <param name="EventsPerSecond">That all streams together got until then.</param>
/// <param name="IdleResidentMb">The server's memory before any stream was open.</param>
/// <param name="ResidentMb">With all open, after the turns.</param>
internal sealed record EventStreams(
    int Streams, int Conversations, int Events, double OpenMs, double FirstEndMs, double LastEndMs, double EventsPerSecond, double IdleResidentMb, double ResidentMb)
{
    /// <summary>An event that is lost must not make the measurement wait for ever.</summary>
    static readonly TimeSpan TurnMax = TimeSpan.FromMinutes(5);

    public static async Task<EventStreams> MeasureAsync(string model, int threads, string directory, int streams, int conversations, int tokens, int runs, CancellationToken cancellation)
    {
        conversations = Math.Min(conversations, streams);
        using BenchServer server = await BenchServer.StartAsync(model, threads, directory, cancellation);
        var client = new LongCtxClient(new LongCtxClientOptions { Server = server.Address });
        var ids = new string[conversations];
        for (int i = 0; i < conversations; i++) ids[i] = (await client.CreateConversationAsync(null, cancellation)).Id;
        double idle = server.ResidentMegabytes;

        using var http = new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = int.MaxValue }) { BaseAddress = server.Address, Timeout = Timeout.InfiniteTimeSpan };
        long opening = Stopwatch.GetTimestamp();
        EventStream[] open = await Task.WhenAll(Enumerable.Range(0, streams).Select(i => EventStream.OpenAsync(http, ids[i % conversations], cancellation)));
        try
        {
            double openMs = Stopwatch.GetElapsedTime(opening).TotalMilliseconds;
            await TurnAsync(); // warms up
            var turns = new (int Events, double FirstEndMs, double LastEndMs)[runs];
            for (int run = 0; run < runs; run++) turns[run] = await TurnAsync();
            return new(streams, conversations, (int)Median.Of(turns.Select(t => (double)t.Events / streams)), openMs, Median.Of(turns.Select(t => t.FirstEndMs)), Median.Of(turns.Select(t => t.LastEndMs)),
                Median.Of(turns.Select(t => 1000 * t.Events / t.LastEndMs)), idle, server.ResidentMegabytes);
        }
        finally
        {
            foreach (EventStream stream in open) stream.Dispose();
        }

        // Every stream must have every event: EventStream refuses a hole, and the journal knows the head.
        async Task<(int Events, double FirstEndMs, double LastEndMs)> TurnAsync()
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            limit.CancelAfter(TurnMax);
            long before = open.Sum(s => s.Seq), start = Stopwatch.GetTimestamp();
            Task<long>[] ends = [.. open.Select(s => Task.Run(() => s.ReadTurnAsync(limit.Token), limit.Token))];
            await Task.WhenAll(ids.Select((id, i) => client.SubmitTurnAsync(id, Turn(i), cancellation)));
            try
            {
                await Task.WhenAll(ends);
            }
            catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
            {
                throw new CheckFailedException($"after {TurnMax.TotalMinutes} minutes {ends.Count(e => !e.IsCompletedSuccessfully)} of {streams} streams still miss the end of the turn");
            }

            for (int i = 0; i < conversations; i++)
            {
                long head = (await client.GetConversationAsync(ids[i], cancellation)).Seq;
                foreach (EventStream stream in open.Where((_, s) => s % conversations == i))
                    CheckFailedException.Require(stream.Seq == head, $"a stream of {ids[i]} ends at event {stream.Seq}, and the journal at {head}");
            }

            return ((int)(open.Sum(s => s.Seq) - before), Since(ends.Min(e => e.Result)), Since(ends.Max(e => e.Result)));

            double Since(long end) => Stopwatch.GetElapsedTime(start, end).TotalMilliseconds;
        }

        SubmitTurn Turn(int i) =>
            LongCtxClient.NewTurn($"Tell me the {i}th story about the sea, at length.") with { Options = new() { MaxTokens = tokens, Sampling = SamplingOptions.Greedy } };
    }
}
