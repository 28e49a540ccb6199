using System.Diagnostics;
using LongCtx.Client;

namespace LongCtx.Cli.Bench;

/// <param name="Turns">Acknowledged, each of them ended once.</param>
/// <param name="Events">Seen by all subscribers, without a gap or a duplicate.</param>
/// <param name="FirstTokenMs">Median time from sending a turn to its first text.</param>
/// <param name="Recoveries">Times of more than a second between sending a turn and its first event, or two of its events: a silo that died, or one that was slow.</param>
internal sealed record ClusterReport(
    int Conversations, int Subscribers, int Turns, long Events, double TurnsPerSecond, double TokensPerSecond, double FirstTokenMs, RecoveryFigure Recoveries);

/// <param name="P50Seconds">0 when there was none; so for <paramref name="MaxSeconds"/>.</param>
internal sealed record RecoveryFigure(int Count, double P50Seconds, double MaxSeconds);

/// <summary>
/// Conversations with subscribers against a server or cluster that may lose parts meanwhile: every acknowledged turn must be there with exactly one end, and every subscriber must see
/// dense events.
/// </summary>
internal sealed class ClusterLoad(LongCtxClient client, int subscribers, int tokens)
{
    static readonly TimeSpan s_pause = TimeSpan.FromSeconds(1);

    readonly Lock _gate = new();
    readonly List<double> _firstTokens = [], _pauses = [];
    long _events, _tokens;

    /// <exception cref="CheckFailedException">Something acknowledged is missing, or a subscriber saw a gap or a duplicate.</exception>
    public async Task<ClusterReport> RunAsync(int conversations, int turns, CancellationToken cancellation)
    {
        long start = Stopwatch.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, conversations).Select(i => Task.Run(() => TalkAsync(i, turns, cancellation), cancellation)));
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        double[] pauses = [.. _pauses.Order()];
        return new(conversations, subscribers, conversations * turns, _events, conversations * turns / seconds, _tokens / seconds, Median.Of(_firstTokens),
            new(pauses.Length, pauses.Length == 0 ? 0 : Median.Of(pauses), pauses.LastOrDefault()));
    }

    async Task TalkAsync(int number, int turns, CancellationToken cancellation)
    {
        string id = (await client.CreateConversationAsync(cancellation: cancellation)).Id;
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        Task<Follower>[] followers = [.. Enumerable.Range(0, subscribers).Select(_ => Task.Run(() => FollowAsync(id, turns, stop.Token), stop.Token))];
        try
        {
            for (int turn = 1; turn <= turns; turn++)
            {
                long sent = Stopwatch.GetTimestamp(), last = sent;
                bool hasBegun = false;
                SubmitTurn question = LongCtxClient.NewTurn($"Tell me the {turn}th part of the {number}th story of the sea, at length.") with { Options = new() { MaxTokens = tokens, Sampling = SamplingOptions.Greedy } }; // the same work in every run
                await foreach (ConversationEvent e in client.AskAsync(id, question, cancellation))
                {
                    if (Stopwatch.GetElapsedTime(last) is var pause && pause > s_pause) lock (_gate) _pauses.Add(pause.TotalSeconds);
                    last = Stopwatch.GetTimestamp();
                    if (!hasBegun && e is Delta or Completed) lock (_gate) _firstTokens.Add(Stopwatch.GetElapsedTime(sent).TotalMilliseconds);
                    hasBegun |= e is Delta or Completed;
                    Interlocked.Add(ref _tokens, e is Delta or Completed ? e.TokenCount : 0);
                    if (e is Failed failed) throw new CheckFailedException($"turn {turn} of {id} failed: {failed.Message}");
                }
            }
        }
        catch
        {
            await stop.CancelAsync();
            throw;
        }

        foreach (Follower seen in await Task.WhenAll(followers))
            if (seen.Ended != turns) throw new CheckFailedException($"a subscriber of {id} saw {seen.Ended} of {turns} turns end");
    }

    sealed record Follower(long Last, int Ended);

    async Task<Follower> FollowAsync(string id, int turns, CancellationToken cancellation)
    {
        long last = 0;
        var ended = new HashSet<int>();
        await foreach (ConversationEvent e in client.SubscribeAsync(id, 0, cancellation))
        {
            if (e.Seq != last + 1) throw new CheckFailedException($"a subscriber of {id} saw event {e.Seq} behind {last}");
            last = e.Seq;
            Interlocked.Increment(ref _events);
            if (e is Completed or Cancelled or Failed && !ended.Add(e.Turn)) throw new CheckFailedException($"turn {e.Turn} of {id} ended twice");
            if (ended.Count == turns) break;
        }

        return new(last, ended.Count);
    }
}
