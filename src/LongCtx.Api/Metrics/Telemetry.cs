using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Runtime.CompilerServices;

namespace LongCtx.Api;

/// <summary>
/// Adds up all counters of the meter <c>LongCtx</c>, whoever counts (hosts count what conversations do), and counts what only the HTTP layer
/// sees: completions that are not stored, and open streams.
/// </summary>
internal sealed class Telemetry : IDisposable
{
    const string MeterName = "LongCtx";

    readonly MeterListener listener = new();
    readonly ConcurrentDictionary<string, Total> totals = new(StringComparer.Ordinal);
    readonly Meter meter = new(MeterName);
    readonly Counter<long> completions, input, generated, cached, evicted;
    int openStreams;

    public Telemetry()
    {
        listener.InstrumentPublished = (instrument, l) =>
        {
            if (instrument.Meter.Name != MeterName || instrument is not Counter<long>) return;
            totals.TryAdd(instrument.Name, new(instrument.Description ?? instrument.Name));
            l.EnableMeasurementEvents(instrument);
        };
        listener.SetMeasurementEventCallback<long>((instrument, value, _, _) => totals[instrument.Name].Add(value));
        listener.Start();
        completions = meter.CreateCounter<long>("longctx.completions", description: "Completions that ended and were not stored");
        input = meter.CreateCounter<long>("longctx.tokens.input", description: "Tokens of prompts, turns and appends");
        generated = meter.CreateCounter<long>("longctx.tokens.generated", description: "Tokens of replies");
        cached = meter.CreateCounter<long>("longctx.tokens.cached", description: "Tokens of prompts and logs that were found computed");
        evicted = meter.CreateCounter<long>("longctx.tokens.evicted", description: "Tokens that left the window");
    }

    /// <summary>Streams that clients hold open now.</summary>
    public int OpenStreams => Volatile.Read(ref openStreams);

    /// <summary>Name, what it counts, and how much, since the server started.</summary>
    public IEnumerable<(string Name, string Description, long Value)> Totals =>
        totals.OrderBy(t => t.Key, StringComparer.Ordinal).Select(t => (t.Key, t.Value.Description, t.Value.Value));

    /// <summary>Counts one stream until it is disposed.</summary>
    public IDisposable OpenStream()
    {
        Interlocked.Increment(ref openStreams);
        return new Stream(this);
    }

    /// <summary>The same events, counted.</summary>
    public async IAsyncEnumerable<CompletionEvent> Counted(IAsyncEnumerable<CompletionEvent> events, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        await foreach (CompletionEvent e in events.WithCancellation(cancellation))
        {
            if (e is CompletionFinished { Usage: var usage })
            {
                completions.Add(1);
                input.Add(usage.PromptTokens);
                generated.Add(usage.CompletionTokens);
                cached.Add(usage.CachedTokens);
                evicted.Add(usage.EvictedTokens);
            }
            yield return e;
        }
    }

    public void Dispose()
    {
        listener.Dispose();
        meter.Dispose();
    }

    sealed class Total(string description)
    {
        long value;

        public string Description { get; } = description;

        public long Value => Interlocked.Read(ref value);

        public void Add(long more) => Interlocked.Add(ref value, more);
    }

    sealed class Stream(Telemetry owner) : IDisposable
    {
        public void Dispose() => Interlocked.Decrement(ref owner.openStreams);
    }
}
